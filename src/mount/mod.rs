//! Making a filesystem usable at a place: options, mounting, the daemon, private namespaces.

pub mod options;
