//! Python's own tests of its modules that use temporary files.

use super::on_both;

/// Debian's interpreter, not one that a version manager puts before it: the package brings its tests.
fn python_tests(modules: &str, user: &str) {
    let script = format!(
        "set +e; {user} /usr/bin/python3 -c 'import test.test_tempfile' || {{ echo 'the Debian package \
         libpython3.N-testsuite is missing; tests/setup.sh installs it'; exit 1; }}; set -e\n\
         mkdir -m 1777 scratch; cd scratch; {user} /usr/bin/python3 -m test --tempdir \"$M/scratch\" --timeout 500 {modules}\n\
         cd \"$M\"; test -z \"$(find . -mindepth 2 -path './scratch/*' -name 'tmp*')\""
    );
    on_both(&[("python3", "python3"), ("setpriv", "util-linux")], &script);
}

/// semantics 1.1, 2.3: the module that most programs make their temporary files with.
#[test]
fn tempfile_as_root() {
    python_tests("test_tempfile", "");
}

/// semantics 1.1, 2.3: the same without any privilege.
#[test]
fn tempfile_as_an_ordinary_user() {
    python_tests("test_tempfile", "setpriv --reuid=nobody --regid=nogroup --clear-groups");
}

/// semantics 1.1: modules whose tests are made of files: trees, links, maps, sendfile, mailboxes, archives, system calls.
#[test]
fn modules_that_work_on_files() {
    let modules = "test_shutil test_glob test_mmap test_pathlib test_posixpath test_genericpath test_fileinput test_zipfile \
                   test_tarfile test_mailbox test_dbm_dumb test_shelve test_filecmp test_fileio test_posix test_largefile \
                   test_os";
    python_tests(modules, "setpriv --reuid=nobody --regid=nogroup --clear-groups");
}
