//! 3.4: appending. 5.10 judges it at the descriptor's offset, 0 after open; owltmp at the end of the file, where the bytes go.

use super::why::Why::AppendAtTheEnd;
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let differs = |name: &str, script: &str| differs(AppendAtTheEnd, name, script);
    vec![
        differs(
            "the tail is locked, the offset is 0",
            "A lock W 100-; B open :a file rw,append,nb; B write :a 10 = EAGAIN; B lseek :a set 0; B write :a 10 = EAGAIN
             A size file = 100",
        ),
        differs(
            "the tail is locked, the offset is 0, blocking",
            "A lock W 100-; B open :a file rw,append; B write :a 10 = blocked; A unlock; B = 10; A size file = 110
             A read 20@90 = 20 [.10 B10]",
        ),
        same(
            "the tail is locked, the offset is at the end",
            "A lock W 100-; B open :a file rw,append,nb; B lseek :a set 100; B write :a 10 = EAGAIN",
        ),
        same(
            "the tail is locked, the offset is at the end, blocking",
            "A lock W 100-; B open :a file rw,append; B lseek :a set 100; B write :a 10 = blocked; A unlock; B = 10",
        ),
        differs(
            "the head is locked, the offset is 0",
            "A lock W 0-10; B open :a file rw,append,nb; B write :a 10 = 10; A size file = 110; A read 10@100 = 10 [B10]",
        ),
        same(
            "the head is locked, the offset is 50",
            "A lock W 0-10; B open :a file rw,append,nb; B lseek :a set 50; B write :a 10 = 10; A size file = 110",
        ),
        differs(
            "pwrite with O_APPEND inside the locked head",
            "A lock W 0-10; B open :a file rw,append,nb; B pwrite :a 10@0 = 10; A size file = 110; A read 10@0 = 10 [.10]",
        ),
        same(
            "pwrite with O_APPEND outside the locked head",
            "A lock W 0-10; B open :a file rw,append,nb; B pwrite :a 10@50 = 10; A size file = 110; A read 100@0 = 100 [.100]",
        ),
        differs("RWF_APPEND at 0, the tail is locked", "A lock W 100-; B pwritev2 :n 10@0 append = EAGAIN; A size file = 100"),
        same("RWF_APPEND at 100, the tail is locked", "A lock W 100-; B pwritev2 :n 10@100 append = EAGAIN; A size file = 100"),
        differs(
            "RWF_APPEND at the offset, the tail is locked",
            "A lock W 100-; B pwritev2 :n 10 append = EAGAIN; A size file = 100",
        ),
        differs(
            "RWF_APPEND when another has appended goes by the end that the kernel knows, as no request shows the flag",
            "A lock W 0-100; B fsize :n = 100; A open :a file rw,append; A write :a 10 = 10; B pwritev2 :n 5@0 append = 5
             A read 20@90 = 20 [.10 B5 A5]",
        ),
        differs(
            "two that append wait: neither overwrites the other",
            "A lock W 100-; B open :a file rw,append; C open :a file rw,append; B write :a 10 = blocked; C write :a 10 = blocked
             A write 5@100 = 5; A unlock; B = 10; C = 10; A size file = 125; A read 5@100 = 5 [A5]",
        ),
        differs(
            "the holder of the tail appends while another waits to",
            "A lock W 100-; B open :a file rw,append; B write :a 10 = blocked; A open :a file rw,append; A write :a 7 = 7
             A unlock; B = 10; A read 40@90 = 27 [.10 A7 B10]",
        ),
    ]
}
