//! On what, when and of what state of the sources it was measured.

use std::fs;
use std::process::Command;

use super::row::Outcome;

/// What stands at the head of every report.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Each fact with its name, in the order they are shown.
    pub facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks around.
    pub fn look() -> Outcome<Machine> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let virtual_machine = field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
        let cpus = std::thread::available_parallelism()?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        let kib: u64 = meminfo.split_whitespace().nth(1).unwrap_or("0").parse()?;
        let load = fs::read_to_string("/proc/loadavg")?;
        let of_a_minute: f64 = load.split(' ').next().unwrap_or("0").parse()?;
        let is_busy = of_a_minute > cpus.get() as f64 / 2.0;
        let remark = if is_busy {
            " (a busy machine: the figures say little)"
        } else {
            ""
        };
        let commit = said(
            "git",
            &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"],
        );
        let facts = vec![
            ("commit", commit.unwrap_or_else(|| "unknown".to_owned())),
            ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_default()),
            (
                "kernel",
                fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            ),
            (
                "cpu",
                format!(
                    "{cpus} x {}",
                    field("model name").unwrap_or_else(|| "unknown".to_owned())
                ),
            ),
            ("virtual", if virtual_machine { "yes" } else { "no" }.to_owned()),
            ("memory", format!("{:.1} GiB", kib as f64 / f64::from(1 << 20))),
            (
                "load",
                format!("{}{}", load.split(' ').take(3).collect::<Vec<_>>().join(" "), remark),
            ),
        ];
        Ok(Machine { facts })
    }

    /// For the head of a text.
    pub fn lines(&self) -> String {
        let lines: Vec<_> = self
            .facts
            .iter()
            .map(|(name, fact)| format!("{name:<8} {fact}"))
            .collect();
        lines.join("\n")
    }
}

/// The first line a program says when all goes well.
pub fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| text.lines().next().unwrap_or("").trim().to_owned())
}
