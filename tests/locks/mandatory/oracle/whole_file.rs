//! 3.4: locks and transfers past the end of the file, and those that are very long. The file has 100 bytes.

use super::why::Why::SplitByTheKernel;
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = large();
    rows.extend(ends());
    rows
}

fn large() -> Vec<Row> {
    vec![
        differs(
            SplitByTheKernel,
            "a count of 0x7fffffff, a lock far behind the end",
            // The kernel clamps the count and ends the read where the file ends.
            "A lock W 0x7ffff800-0x7ffff801; B read :n 0x7fffffff@0 = 100",
        ),
        same(
            "a count of 0x7ffff000, a lock behind it",
            "A lock W 0x7ffff800-0x7ffff801; B read :n 0x7ffff000@0 = 100",
        ),
        differs(
            SplitByTheKernel,
            "a write of 3 MiB meets a lock in its third MiB: a short count",
            "A lock W 0x200000-0x200001; B write :n 0x300000@0 = 2097152; A size file = 2097152",
        ),
        differs(
            SplitByTheKernel,
            "a read of 3 MiB meets a lock in its third MiB: a short count",
            "A truncate file 0x300000; A lock W 0x200000-0x200001; B read :n 0x300000@0 = 2097152; B read :n 0x100000@0x200000 = EAGAIN",
        ),
        differs(
            SplitByTheKernel,
            "a write of 3 MiB waits for a lock in its third MiB, with two written",
            "A lock W 0x200000-0x200001; B write 0x300000@0 = blocked; A size file = 2097152; A unlock; B = 3145728",
        ),
        differs(
            SplitByTheKernel,
            "a write of 3 MiB that waits in its third MiB is interrupted: a short count",
            "A lock W 0x200000-0x200001; B write 0x300000@0 = blocked; signal B usr1; B = 2097152; A size file = 2097152",
        ),
        differs(
            SplitByTheKernel,
            "a read of 3 MiB that waits in its third MiB is interrupted: a short count",
            "A truncate file 0x300000; A lock W 0x200000-0x200001; B read 0x300000@0 = blocked; signal B usr1; B = 2097152",
        ),
        same(
            "a read of 1 MiB is one check",
            "A truncate file 0x300000; A lock W 0xfffff-0x100000; B read :n 0x100000@0 = EAGAIN",
        ),
        same(
            "a write of 1 MiB is one check",
            "A truncate file 0x300000; A lock W 0xfffff-0x100000; B write :n 0x100000@0 = EAGAIN; B read :n 0xfffff@0 = 1048575 [.100 0x1048475]",
        ),
    ]
}

fn ends() -> Vec<Row> {
    let far = |rest: &str| format!("A lock W 200-210; {rest}");
    let tail = |rest: &str| format!("A lock W 100-; {rest}");
    vec![
        same("a read inside a lock behind the end", &far("B read :n 10@205 = EAGAIN")),
        same(
            "a read across the end up to a lock",
            &far("B read :n 1000@0 = EAGAIN; B read :n 101@100 = EAGAIN"),
        ),
        same(
            "a read behind the end before a lock",
            &far("B read :n 10@150 = 0; B read :n 100@100 = 0"),
        ),
        same(
            "a write inside a lock behind the end",
            &far("B write :n 10@205 = EAGAIN; A size file = 100"),
        ),
        same(
            "writes on both sides of a lock behind the end",
            &far("B write :n 100@100 = 100; B write :n 10@210 = 10; A size file = 220"),
        ),
        same(
            "a write at the end, which is locked",
            &tail("B write :n 10@100 = EAGAIN"),
        ),
        same(
            "a write of the last byte before it",
            &tail("B write :n 1@99 = 1; B write :n 2@99 = EAGAIN; A size file = 100"),
        ),
        same(
            "a blocking write at the end",
            &tail("B write 10@100 = blocked; A unlock; B = 10; A size file = 110"),
        ),
        same(
            "a lock of the whole file stops a read past its end",
            "A lock W 0-; B read :n 10@1000 = EAGAIN; B write :n 10@1000 = EAGAIN",
        ),
        same(
            "the last byte there can be",
            "A lock W 0x7ffffffffffffffe-; B read :n 10@0 = 10; B write :n 10@0 = 10",
        ),
    ]
}
