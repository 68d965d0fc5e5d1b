//! What each option means, and what is said about those that are refused.

use std::num::NonZeroUsize;

use nix::mount::MsFlags;
use owltmp::mount::options::{Access, Accounts, Host, MountOptions, OptionError, RawOptions, resolve};
use owltmp::types::{AtimePolicy, Enforcement, Rules, Settings};
use proptest::prelude::*;

struct Names;

impl Accounts for Names {
    fn uid(&self, name: &str) -> Option<u32> {
        (name == "alice").then_some(1000)
    }

    fn gid(&self, name: &str) -> Option<u32> {
        (name == "staff").then_some(50)
    }
}

fn host(uid: u32) -> Host<'static> {
    Host {
        ram_pages: 1001,
        cpus: NonZeroUsize::new(2).unwrap(),
        uid,
        gid: uid,
        selinux: true,
        accounts: &Names,
    }
}

fn as_user(uid: u32, text: &str) -> Result<MountOptions, OptionError> {
    resolve(&RawOptions::parse(text)?, &host(uid))
}

fn as_root(text: &str) -> MountOptions {
    as_user(0, text).unwrap()
}

fn refused(text: &str) -> String {
    let message = as_user(0, text).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn the_defaults_are_those_of_tmpfs_but_nosuid_and_nodev() {
    let options = as_root("");
    let expected = Settings {
        max_bytes: Some(500 * 4096),
        max_inodes: Some(500),
        user_bytes: None,
        user_inodes: None,
        root_perm: 0o1777,
        root_uid: 0,
        root_gid: 0,
        umask: 0,
        rules: Rules::default(),
        atime: AtimePolicy::Relatime,
        diratime: true,
        mandatory: owltmp::types::Mandatory::Marked,
    };
    assert_eq!(options.settings, expected);
    assert_eq!(
        options.flags,
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_RELATIME
    );
    assert_eq!(options.access, Access::Everyone);
    assert_eq!(options.workers.get(), 2);
    let users = as_user(1000, "").unwrap();
    assert_eq!((users.settings.root_uid, users.settings.root_gid), (1000, 1000));
    assert_eq!(users.access, Access::Mounter);
}

#[test]
fn limits() {
    assert_eq!(as_root("size=5000").settings.max_bytes, Some(8192));
    assert_eq!(as_root("size=0").settings.max_bytes, None);
    assert_eq!(as_root("size=10%").settings.max_bytes, Some(101 * 4096));
    assert_eq!(as_root("nr_blocks=3").settings.max_bytes, Some(3 * 4096));
    assert_eq!(as_root("size=1g,nr_blocks=1k").settings.max_bytes, Some(4 << 20));
    assert_eq!(as_root("nr_inodes=2k").settings.max_inodes, Some(2048));
    assert_eq!(as_root("nr_inodes=0").settings.max_inodes, None);
}

#[test]
fn the_root_directory() {
    let settings = as_root("mode=0750,uid=alice,gid=staff").settings;
    assert_eq!(
        (settings.root_perm, settings.root_uid, settings.root_gid),
        (0o750, 1000, 50)
    );
    let settings = as_root("uid=7,gid=8").settings;
    assert_eq!((settings.root_uid, settings.root_gid), (7, 8));
    assert!(refused("uid=mallory").contains("uid=mallory"));
}

#[test]
fn later_options_win() {
    assert!(!as_root("ro,rw").flags.contains(MsFlags::MS_RDONLY));
    assert!(as_root("rw,ro").flags.contains(MsFlags::MS_RDONLY));
    assert!(!as_root("noexec,exec").flags.contains(MsFlags::MS_NOEXEC));
    assert!(
        !as_root("dev,suid")
            .flags
            .intersects(MsFlags::MS_NODEV | MsFlags::MS_NOSUID)
    );
    assert!(as_root("dev,nodev").flags.contains(MsFlags::MS_NODEV));
    assert!(as_root("users").flags.contains(MsFlags::MS_NOEXEC));
    assert!(!as_root("users,exec").flags.contains(MsFlags::MS_NOEXEC));
    assert_eq!(as_root("size=1k,size=8k").settings.max_bytes, Some(8192));
}

#[test]
fn access_times() {
    for (text, atime, flag) in [
        ("noatime", AtimePolicy::NoAtime, MsFlags::MS_NOATIME),
        ("noatime,atime", AtimePolicy::Relatime, MsFlags::MS_RELATIME),
        ("strictatime", AtimePolicy::Strict, MsFlags::MS_STRICTATIME),
        ("strictatime,atime", AtimePolicy::Strict, MsFlags::MS_STRICTATIME),
        ("strictatime,nostrictatime", AtimePolicy::Relatime, MsFlags::MS_RELATIME),
        ("strictatime,noatime", AtimePolicy::NoAtime, MsFlags::MS_NOATIME),
        ("norelatime", AtimePolicy::Relatime, MsFlags::MS_RELATIME),
    ] {
        let options = as_root(text);
        let all = MsFlags::MS_NOATIME | MsFlags::MS_RELATIME | MsFlags::MS_STRICTATIME;
        assert_eq!((options.settings.atime, options.flags & all), (atime, flag), "{text}");
    }
    let options = as_root("nodiratime");
    assert!(!options.settings.diratime && options.flags.contains(MsFlags::MS_NODIRATIME));
}

#[test]
fn what_fstab_carries_is_taken() {
    as_root(
        "defaults,auto,noauto,user,nouser,users,_netdev,nofail,x-systemd.automount,X-mount.mkdir=755,comment=x,inode64",
    );
    assert!(refused("_netdev=1").contains("unknown"));
}

#[test]
fn an_ordinary_user_cannot_ask_for_devices_or_set_id_programs() {
    for text in ["dev", "suid", "nodev,dev", "dev,ro,nosuid"] {
        let error = as_user(1000, text).unwrap_err();
        assert!(error.to_string().contains("only root"), "{error}");
    }
    as_user(1000, "dev,nodev,suid,nosuid").unwrap();
    assert_eq!(as_user(1000, "allow_other").unwrap().access, Access::Everyone);
}

#[test]
fn labels_reach_the_kernel_quoted() {
    let options = as_root("context=\"u:r:t:s0:c1,c2\",rootcontext=u:r:t:s0");
    assert_eq!(
        options.security,
        ["context=\"u:r:t:s0:c1,c2\"", "rootcontext=\"u:r:t:s0\""]
    );
    assert!(
        options
            .kernel_data(3, 0, 0)
            .ends_with(",context=\"u:r:t:s0:c1,c2\",rootcontext=\"u:r:t:s0\"")
    );
    let without = Host {
        selinux: false,
        ..host(0)
    };
    let options = resolve(&RawOptions::parse("context=x").unwrap(), &without).unwrap();
    assert!(options.security.is_empty());
}

#[test]
fn refusals_name_the_option_and_the_reason() {
    let cases = [
        "allow_root",
        "huge=always",
        "mpol=local",
        "noswap",
        "inode32",
        "usrquota",
        "casefold",
        "remount",
        "bind",
    ];
    for text in cases {
        let message = refused(text);
        assert!(message.contains(text) && message.contains("refused"), "{message}");
    }
    for text in ["foo", "foo=1", "mandatory", "sizes=1", "Size=1"] {
        let message = refused(text);
        assert!(message.starts_with(&format!("unknown option \"{text}\"")), "{message}");
        assert!(message.contains("size="));
    }
    for text in ["size", "mode", "uid", "workers", "context"] {
        assert!(refused(text).contains("needs a value"));
    }
    for text in [
        "size=x",
        "size=",
        "mode=9",
        "nr_inodes=-1",
        "workers=0",
        "workers=65",
        "nr_blocks=8e",
    ] {
        assert!(
            refused(text).contains(&format!("bad option \"{text}\"")),
            "{}",
            refused(text)
        );
    }
    for text in ["ro=1", "noatime=yes", "allow_other=x"] {
        assert!(refused(text).contains("takes no value"));
    }
    assert!(refused("a\nb").contains("a\\nb"));
}

#[test]
fn data_for_the_kernel_and_options_for_the_helper() {
    let root = as_root("ro,nodev,noatime");
    let data = root.kernel_data(5, 10, 20);
    assert_eq!(
        data,
        "fd=5,rootmode=40000,user_id=10,group_id=20,default_permissions,allow_other"
    );
    let user = as_user(1000, "ro,strictatime").unwrap();
    assert_eq!(
        user.helper_options(),
        "fsname=owltmp,subtype=owltmp,default_permissions,ro,nosuid,nodev"
    );
}

proptest! {
    #[test]
    fn any_text_is_resolved_or_refused_in_one_line(text in any::<String>()) {
        if let Err(error) = as_user(1000, &text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_value_is_taken_or_refused(
        name in prop::sample::select(vec!["size", "nr_blocks", "nr_inodes", "user_size", "user_inodes", "mode", "uid", "gid", "workers"]),
        value in "[0-9a-zA-Z%x+. -]{0,24}",
    ) {
        if let Ok(options) = as_user(0, &format!("{name}={value}")) {
            prop_assert!(options.settings.max_bytes.is_none_or(|bytes| bytes % 4096 == 0));
            prop_assert!(options.settings.user_bytes.is_none_or(|bytes| bytes % 4096 == 0));
            prop_assert!((1..=64).contains(&options.workers.get()));
            prop_assert!(options.settings.root_perm <= 0o7777);
        }
    }

    #[test]
    fn settings_written_as_options_come_back(
        pages in prop::option::of(1..1u64 << 40),
        inodes in prop::option::of(1..i64::MAX as u64),
        perm in 0..0o10000u32,
        (uid, gid) in (0..u32::MAX, 0..u32::MAX),
    ) {
        let bytes = pages.map(|pages| pages * 4096);
        let text = format!(
            "size={},nr_inodes={},mode={perm:o},uid={uid},gid={gid}",
            bytes.unwrap_or(0), inodes.unwrap_or(0)
        );
        let settings = as_root(&text).settings;
        prop_assert_eq!((settings.max_bytes, settings.max_inodes, settings.root_perm), (bytes, inodes, perm));
        prop_assert_eq!((settings.root_uid, settings.root_gid), (uid, gid));
    }
}

#[test]
fn limits_for_users() {
    let settings = as_root("user_size=5000,user_inodes=1k").settings;
    assert_eq!((settings.user_bytes, settings.user_inodes), (Some(8192), Some(1024)));
    assert_eq!(as_root("user_size=10%").settings.user_bytes, Some(101 * 4096));
    assert_eq!(as_root("user_size=1m,user_size=0").settings.user_bytes, None);
    assert_eq!(as_root("user_inodes=0").settings.user_inodes, None);
    let more = as_root("size=1m,user_size=1g").settings;
    assert_eq!((more.max_bytes, more.user_bytes), (Some(1 << 20), Some(1 << 30)));
    for text in [
        "user_size=-1",
        "user_size=1q",
        "user_inodes=50%",
        "user_inodes=",
        "user_size=%",
    ] {
        assert!(refused(text).contains(text), "{text}");
    }
    assert!(refused("user_size").contains("user_size=1g"));
    assert!(refused("usrquota").contains("user_size="));
}

#[test]
fn rules_have_four_values_and_the_umask_is_octal() {
    let settings = as_root("symlinks=strict,hardlinks=log,squatting=off,umask=027").settings;
    let expected = Rules {
        symlinks: Enforcement::Strict,
        hardlinks: Enforcement::Log,
        squatting: Enforcement::Off,
    };
    assert_eq!((settings.rules, settings.umask), (expected, 0o027));
    assert_eq!(as_root("symlinks=off,symlinks=on").settings.rules, Rules::default());
    for text in [
        "symlinks=yes",
        "hardlinks=",
        "squatting=ON",
        "umask=1777",
        "umask=8",
        "umask=-1",
    ] {
        assert!(refused(text).contains(text), "{text}");
    }
    assert!(refused("symlinks").contains("symlinks=on"));
    assert!(refused("squatting=1").contains("on, strict, log or off"));
}

#[test]
fn ageing() {
    use std::time::Duration;
    let of = |text: &str| (as_root(text).max_age, as_root(text).exclude);
    assert_eq!(of(""), (None, vec![]));
    assert_eq!(of("max_age=10d").0, Some(Duration::from_secs(864_000)));
    assert_eq!(of("max_age=10d,max_age=0").0, None);
    assert_eq!(
        of("max_age=1h,exclude=.X*,exclude=\"{a,b}/*\"").1,
        [".X*".to_owned(), "{a,b}/*".to_owned()]
    );
    assert!(refused("max_age").contains("needs a value, such as max_age=10d"));
    assert!(refused("max_age=10y").contains("want a time such as 10d, 12h or 1d12h"));
    assert!(refused("exclude=[a").contains("want a shell pattern of a path below the mount"));
    assert!(refused("exclude={a,b}").contains("exclude={a"), "a comma ends it");
    assert!(refused("exclude=/").contains("shell pattern"));
}

#[test]
fn what_is_in_force_is_told_as_it_may_be_given() {
    for text in [
        "",
        "size=0,nr_inodes=0,mode=700,uid=5,gid=6,umask=077,user_size=1m,user_inodes=10,workers=3",
        "symlinks=off,hardlinks=log,squatting=strict,mand=full,io=cached,noatime,nodiratime",
        "mand=off,io=passthrough,strictatime,max_age=1d,exclude=.X11-unix,exclude=\"a,b\"",
        "ro,noexec,sync,dirsync,lazytime,context=\"system_u:object_r:tmp_t:s0:c1,c2\"",
    ] {
        let options = as_root(text);
        let told = [options.in_force(), options.flags_given()].concat().join(",");
        assert_eq!(as_root(&told), options, "{told}");
    }
    let own = as_user(1000, "size=1m").unwrap();
    assert_eq!(as_user(1000, &own.in_force().join(",")).unwrap(), own);
}
