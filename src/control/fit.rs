//! Lists that fit into a line.

use serde::Serialize;

/// As many of the items, from the first, as fit into so many bytes; and how many do not.
pub(super) fn fitting<T: Serialize>(mut room: usize, items: impl IntoIterator<Item = T>) -> (Vec<T>, u64) {
    let (mut taken, mut left_out) = (Vec::new(), 0);
    for item in items {
        let length = serde_json::to_vec(&item).map_or(usize::MAX, |text| text.len() + 1);
        if left_out == 0 && length <= room {
            room -= length;
            taken.push(item);
        } else {
            left_out += 1;
        }
    }
    (taken, left_out)
}
