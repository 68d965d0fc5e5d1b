//! What the command line says. Knows the rows and systems only by their names.

use std::path::PathBuf;

use clap::Parser;

/// Measures owltmp, tmpfs and other FUSE filesystems in one run, in turns.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", bin_name = "cargo bench --bench compare --")]
pub struct Args {
    /// The folder for compare.txt, compare.json and compare.svg.
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    pub out: PathBuf,
    /// Rounds of each row, in which every system has a turn; the slow rows have a third of them.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Only these rows: names, or beginnings of names.
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The systems, of: owltmp, owltmp-cached, tmpfs, bindfs, unionfs, fuse-overlayfs, empty.
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    pub systems: Vec<String>,
    /// One more owltmp with mount options of its own, shown under NAME. Can be given several times.
    #[arg(long, value_name = "NAME=OPTIONS", value_parser = named)]
    pub with: Vec<(String, String)>,
    /// Another owltmp program than the one just built, for --with and the systems alike.
    #[arg(long, value_name = "PROGRAM")]
    pub owltmp: Option<PathBuf>,
    /// Where mount points and everything else that passes is made.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub scratch: PathBuf,
    /// Some seconds for all rows but the programs, with figures that say nothing: to see that it works.
    #[arg(long)]
    pub quick: bool,
    /// Bytes of the file that is read and written in sequence; k, m, g.
    #[arg(long, value_name = "BYTES", default_value = "256m", value_parser = bytes)]
    pub size: u64,
    /// Files in the directory that is listed.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub files: u32,
    /// A million files and a million cycles in earnest, on owltmp and tmpfs; otherwise 100,000 and 10,000.
    #[arg(long)]
    pub million: bool,
    /// Prints the rows and what each of them does.
    #[arg(long)]
    pub list: bool,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Args {
    /// Those of `all` that are asked for, in their own order. `all` comes as anything with a name.
    pub fn rows<R: Named>(&self, all: Vec<R>) -> Result<Vec<R>, String> {
        for wanted in &self.only {
            if !all.iter().any(|row| row.id().starts_with(wanted.as_str())) {
                let known: Vec<_> = all.iter().map(Named::id).collect();
                return Err(format!("--only {wanted}: no such row; there are {}", known.join(", ")));
            }
        }
        let is_wanted = |row: &R| self.only.iter().any(|wanted| row.id().starts_with(wanted.as_str()));
        let usual = |row: &R| self.only.is_empty() && !(self.quick && row.is_slow());
        Ok(all.into_iter().filter(|row| usual(row) || is_wanted(row)).collect())
    }

    /// Rounds of a row.
    pub fn rounds_of(&self, slow: bool) -> u32 {
        match (self.quick, slow) {
            (true, _) => self.rounds.min(2),
            (false, true) => self.rounds.div_ceil(3),
            (false, false) => self.rounds,
        }
    }

    /// Bytes of the large file.
    pub fn large(&self) -> u64 {
        if self.quick { self.size.min(16 << 20) } else { self.size }
    }

    /// Files in the large directory.
    pub fn listed(&self) -> u32 {
        if self.quick { self.files.min(1_000) } else { self.files }
    }
}

/// What `--only` chooses among.
pub trait Named {
    /// Its name.
    fn id(&self) -> &'static str;
    /// True where it takes seconds, so that `--quick` leaves it out unless it is named.
    fn is_slow(&self) -> bool;
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, options) = text.split_once('=').ok_or("NAME=OPTIONS is wanted")?;
    if name.is_empty() || name.contains([',', '/']) {
        return Err("a name without commas and slashes is wanted before the =".to_owned());
    }
    Ok((name.to_owned(), options.to_owned()))
}

fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) if lower.ends_with('k') => (digits, 10),
        Some(digits) if lower.ends_with('m') => (digits, 20),
        Some(digits) => (digits, 30),
        None => (lower.as_str(), 0),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes is wanted, such as 64m")?;
    let size = number.checked_mul(1 << shift).ok_or("too large")?;
    if size < 1 << 20 {
        return Err("at least 1m".to_owned());
    }
    Ok(size)
}
