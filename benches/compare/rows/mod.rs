//! The rows, in the order of the table.

mod clients;
mod creation;
mod data;
mod listing;
mod locks;
mod many;
mod mapping;
pub mod material;
mod names;
mod programs;

use super::row::Row;

/// All of them.
pub fn all() -> Vec<Row> {
    [
        data::ROWS,
        mapping::ROWS,
        names::ROWS,
        creation::ROWS,
        listing::ROWS,
        programs::ROWS,
        clients::ROWS,
        many::ROWS,
        locks::ROWS,
    ]
    .concat()
}
