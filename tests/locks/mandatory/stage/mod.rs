//! A stage for small plays: a few fresh processes that open, lock, read and write one file, told what to do by a script, and a
//! script is a few lines. See `script.rs` for the language, `player.rs` for the processes.

mod calls;
mod cast;
mod hammer;
mod locking;
mod player;
mod script;
mod tasks;
mod transfers;

pub use cast::{Cast, PATIENCE};
pub use hammer::SIZE;
pub use script::make_file;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::common::mount::{Kind, Setup};
use crate::common::{Mount, env_number};

/// Mounts owltmp; the test may take two minutes, not more.
pub fn mount(options: &str) -> Mount {
    mount_for(options, Duration::from_secs(env_number("OWLTMP_LOCK_LIMIT", 120)))
}

/// Mounts owltmp for a test that may take so long.
pub fn mount_for(options: &str, limit: Duration) -> Mount {
    let mut setup = Setup::new(Kind::Owltmp, options);
    setup.limit = limit;
    setup.mount()
}

/// A script and what to call it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The name, as the table has it.
    pub name: String,
    /// What happens.
    pub script: String,
}

/// Plays scenes on a mount, each in a directory of its own, some at a time; panics with all that went wrong.
pub fn play_all(mount: &Mount, scenes: &[Scene]) {
    let next = Mutex::new(scenes.iter().enumerate());
    let failures = Mutex::new(vec![]);
    let only = std::env::var("OWLTMP_LOCK_SCENE").unwrap_or_default();
    std::thread::scope(|scope| {
        for _ in 0..env_number("OWLTMP_LOCK_STAGES", 6) {
            scope.spawn(|| {
                loop {
                    let Some((number, scene)) = next.lock().unwrap().next() else {
                        return;
                    };
                    if !scene.name.contains(&only) {
                        continue;
                    }
                    let place = mount.path().join(format!("{number}"));
                    if let Err(what) = play(scene, &place) {
                        failures.lock().unwrap().push(format!("{}: {what}", scene.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} went otherwise:\n{}",
        failures.len(),
        scenes.len(),
        failures.join("\n")
    );
}

fn play(scene: &Scene, place: &Path) -> script::Outcome {
    std::fs::create_dir(place).expect("mkdir");
    rustix::fs::chmod(place, rustix::fs::Mode::from_raw_mode(0o777)).expect("chmod");
    script::play(&scene.script, place)
}
