//! Programs that copy trees: everything a filesystem keeps about a file goes out and comes back.

use crate::common::Mount;
use crate::shell::{self, Need};

use super::on_mount;

const NEEDS: &[Need] = &[
    ("tar", "tar"),
    ("setfacl", "acl"),
    ("setfattr", "attr"),
    ("rsync", "rsync"),
    ("cpio", "cpio"),
];

/// A tree with one of everything, in $1, and a listing of all that can be seen of such a tree.
const FUNCTIONS: &str = r#"
    make_tree() {
        mkdir -p "$1"/plain/deep/er "$1"/acl "$1"/empty "$1"/sticky; cd "$1"
        seq 1 20000 > plain/file; ln plain/file plain/hard; ln plain/file plain/deep/third
        ln -s ../plain/file plain/deep/link; ln -s nowhere dangling; ln -s "$(printf '%0200d' 7)" long-link
        mkfifo -m 0620 fifo; mknod null c 1 3; mknod block b 7 200; chmod 0660 null block
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
        truncate -s 64M sparse; printf middle | dd of=sparse bs=1 seek=33554432 conv=notrunc status=none
        : > 'empty file'; : > "$(printf 'new\nline')"; : > "$(printf '%0255d' 0)"
        chmod 1777 sticky; chmod 4711 plain/file; mkdir -m 2775 setgid; chown daemon:bin setgid
        chown nobody:nogroup plain/deep 'empty file'; chown -h games:games dangling
        setfacl -m u:daemon:rw,g:bin:r,m::rw plain/file
        setfacl -m d:u:daemon:rwx,d:g:bin:r-x,d:m::rwx acl; mkdir acl/inherits; echo text > acl/inherits/file
        setfattr -n user.comment -v 'a comment' plain/file; setfattr -n user.empty plain/file
        setfattr -n user.on-directory -v 0x00ff00 acl; setfattr -n trusted.it -v "$(printf '%01000d' 5)" plain/file
        setfattr -h -n trusted.on-link -v yes dangling; setfattr -n security.it -v label plain/deep
        touch -h -d '2001-02-03 04:05:06.123456789' dangling plain/hard
        find . -type d -exec touch -d '1999-12-31 23:59:59.987654321' {} +
        cd ..
    }
    # Sizes of directories are the filesystem's own affair.
    list() {
        (cd "$1"; find . -type d -printf '%P %y %m %U:%G %n %T@\n' -o -printf '%P %y %m %U:%G %n %s %T@ %l\n' | LC_ALL=C sort
         find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | sort
         find . -type f -size -1000k -exec sha256sum {} + | sort; sha256sum sparse; du -k sparse | cut -f 1
         getfacl -R -n . | grep -v '^$' | sort; find . -exec getfattr -h -d -m - -e hex {} + | sort
         find . -samefile plain/file | sort)
    }
"#;

fn with_functions(script: &str) -> String {
    format!("{FUNCTIONS}{script}")
}

/// semantics 1.1: tar with ACLs, extended attributes, hard links, fifos and devices, there and back.
#[test]
fn tar_keeps_everything() {
    let script = r#"
        make_tree tree; rm tree/socket
        touch -d '1999-12-31 23:59:59.987654321' tree
        test "$(list tree | wc -l)" -gt 60
        all="--acls --xattrs --xattrs-include=* --sparse --format=posix"
        tar $all -cf out.tar tree; mkdir back; tar $all -C back -xpf out.tar
        diff <(list tree) <(list back/tree)
        tar $all --compare -f out.tar
        tar $all -cf - -C back tree | tar $all -tvf - > /dev/null
        rm -r back tree out.tar; test -z "$(ls)"
    "#;
    on_mount(NEEDS, &with_functions(script));
}

/// semantics 1.1: the same tree made on tmpfs and here looks the same, to every tool.
#[test]
fn a_tree_looks_as_on_tmpfs() {
    let reference = Mount::tmpfs("");
    let ours = Mount::new("");
    let script = r#"
        make_tree tree >&2
        find tree -depth -exec touch -h -d '2001-02-03 04:05:06.123456789' {} +
        { set +x; } 2> /dev/null
        echo begin
        list tree
    "#;
    let listing = |mount: &Mount| {
        let text = shell::script(mount.path(), NEEDS, &with_functions(script));
        let (_, listing) = text.split_once("begin\n").unwrap();
        listing.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (theirs, ours) = (listing(&reference), listing(&ours));
    assert!(theirs.len() > 60, "hardly a listing: {theirs:#?}");
    assert_eq!(theirs, ours);
}

/// semantics 1.1: cp -a, rsync and cpio, from the mount to itself and back from tmpfs.
#[test]
fn copies_keep_everything() {
    let elsewhere = Mount::tmpfs("");
    let script = r#"
        make_tree tree
        touch -d '1999-12-31 23:59:59.987654321' tree
        test "$(list tree | wc -l)" -gt 60
        cp -a --sparse=always tree copy; diff <(list tree) <(list copy)
        cp -a --reflink=never copy ELSEWHERE/copy; cp -a ELSEWHERE/copy again; diff <(list tree) <(list again)
        rsync -aHAXS --numeric-ids tree/ synced; diff <(list tree) <(list synced)
        test -z "$(rsync -aHAXSi --checksum --delete tree/ synced)"
        echo more >> tree/plain/deep/third; rm tree/fifo; rsync -aHAXS --inplace --no-whole-file --delete tree/ synced
        cmp tree/plain/file synced/plain/hard; fails test -e synced/fifo
        mkdir archive; (cd tree; find . -depth -print0 | cpio -0 -o -H newc --quiet) > out.cpio
        (cd archive; cpio -i -d -m --quiet < ../out.cpio); cmp archive/plain/file tree/plain/file
        mv copy ELSEWHERE/moved; diff <(list ELSEWHERE/moved) <(list again)
        mv ELSEWHERE/moved here; diff <(list here) <(list again)
        diff -r --no-dereference --exclude=socket --exclude=fifo --exclude=null --exclude=block here again
        test "$(du -s --apparent-size -B1 tree/plain/file | cut -f 1)" = 108899
        du -sk tree > /dev/null; find tree -newer again -name third | grep third
        rm -rf -- *; test -z "$(ls -A)"
    "#;
    let script = with_functions(script).replace("ELSEWHERE", &elsewhere.path().display().to_string());
    on_mount(NEEDS, &script);
}

/// semantics 1.1, 1.2: find, du and rm on a wide and deep tree, while another process changes it.
#[test]
fn walks_see_every_entry_that_stays() {
    let script = r#"
        mkdir wide; (cd wide; seq -f 'stays%g' 1 20000 | xargs touch)
        churn() { for i in $(seq 1 20); do (cd wide; seq -f "goes$i-%g" 1 200 | xargs touch
                  seq -f "goes$i-%g" 1 200 | xargs rm); done; }
        churn & pid=$!
        for i in 1 2 3 4 5; do test "$(find wide -name 'stays*' | sort -u | wc -l)" = 20000
            test "$(find wide -name 'stays*' | wc -l)" = 20000; done
        wait "$pid"
        test "$(ls -U wide | wc -l)" = 20000
        d=deep; mkdir deep; for i in $(seq 1 300); do d=$d/d; mkdir "$d"; done; echo end > "$d/end"
        test "$(find deep -name end -printf %d)" = 301; cat "$d/end"
        find wide -name '*7' -delete; test "$(find wide -type f | wc -l)" = 18000
        rm -r wide deep; test -z "$(ls -A)"
    "#;
    on_mount(&[("find", "findutils")], script);
}
