//! sqlite3: two writing processes on one database, in each of its ways to be safe.

use super::on_mount;

const TWO_WRITERS: &str = r#"
    sqlite3 db 'PRAGMA journal_mode=MODE; CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT, n INTEGER, fill BLOB);' | grep -ix MODE
    cat > watch.sql <<'END'
.timeout 120000
PRAGMA integrity_check;
END
    writer() {
        for n in $(seq 1 ROUNDS); do
            echo "BEGIN IMMEDIATE; INSERT INTO t (who, n, fill) VALUES ('$1', $n, randomblob(2000));"
            echo "DELETE FROM t WHERE who = '$1' AND n = $n - 100; COMMIT;"
        done | sqlite3 -bail -cmd '.timeout 120000' -cmd 'PRAGMA synchronous=NORMAL' db
    }
    writer a & first=$!
    writer b & second=$!
    for i in $(seq 1 5); do sqlite3 db < watch.sql | grep -x ok; done
    wait "$first"
    wait "$second"
    test "$(sqlite3 db 'PRAGMA integrity_check')" = ok
    test "$(sqlite3 db 'SELECT count(*), count(DISTINCT who), sum(n) FROM t')" = "$(echo 'EXPECTED')"
    sqlite3 db 'VACUUM; PRAGMA integrity_check' | grep -x ok
    sqlite3 db 'PRAGMA journal_mode=DELETE'; rm watch.sql
    test "$(ls)" = db
"#;

/// Both writers insert 1..=rounds and each row deletes the one a hundred before it: the last hundred of each remain.
fn two_writers(mode: &str, rounds: u32) {
    let sum: u32 = (rounds - 99..=rounds).sum::<u32>() * 2;
    let script = TWO_WRITERS.replace("MODE", mode).replace("ROUNDS", &rounds.to_string());
    on_mount(
        &[("sqlite3", "sqlite3")],
        &script.replace("EXPECTED", &format!("200|2|{sum}")),
    );
}

/// semantics 1.1: the write-ahead log, whose index is a file both processes map shared.
#[test]
fn sqlite_in_wal_mode() {
    two_writers("wal", 400);
}

/// semantics 1.1: the rollback journal, removed after each transaction.
#[test]
fn sqlite_with_a_rollback_journal() {
    two_writers("delete", 200);
}

/// semantics 1.1: the rollback journal, truncated after each transaction.
#[test]
fn sqlite_with_a_truncated_journal() {
    two_writers("truncate", 200);
}

/// semantics 1.1, 1.3: temporary tables, indexes and sorts, in files unlinked as soon as they are open.
#[test]
fn sqlite_with_temporary_files() {
    let script = r#"
        export SQLITE_TMPDIR=$M
        sqlite3 db "PRAGMA temp_store=FILE; PRAGMA cache_size=10; PRAGMA mmap_size=67108864;
            CREATE TEMP TABLE big AS WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 60000)
                SELECT x, hex(randomblob(60)) AS h FROM c;
            CREATE INDEX temp.byhash ON big(h);
            CREATE TABLE kept AS SELECT * FROM big ORDER BY h DESC;
            SELECT count(*) FROM kept a JOIN big b ON a.h = b.h;
            PRAGMA integrity_check;" > said
        test "$(tail -n 2 said | tr '\n' ' ')" = '60000 ok '
        test "$(ls | sort | tr '\n' ' ')" = 'db said '
    "#;
    on_mount(&[("sqlite3", "sqlite3")], script);
}
