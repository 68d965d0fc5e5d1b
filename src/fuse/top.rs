//! Where our root directory hangs in the kernel's tree: at its top, or one step below it.
//!
//! The kernel makes the inode at the top of a mount before the handshake, when it does not know that there will be ACLs, and
//! some kernels (6.18.42 and later) then never cache one there: whoever is not the owner of the root would cost a GETXATTR at
//! every step through it. The inode of a directory below is made after the handshake. So where it is needed the mount is
//! made of that directory (`mount/detached.rs`), and nobody ever gets to the one above.
//!
//! ```text
//!   node 1            the top of the kernel's tree          answers GETATTR and GETXATTR, and LOOKUP of NAME
//!   └── node BELOW    our root directory: NodeId::ROOT      what is mounted
//! ```
//!
//! Only the conversation knows of this: what comes in for `BELOW` is about the root, what goes out about the root has `BELOW`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::decode::{Operation, Request};
use crate::types::NodeId;

/// The name under which the root is found from above: seen in /proc/self/mountinfo, as the root of the mount.
pub const NAME: &str = "tree";

/// The same as a path.
const ROOT_PATH: &str = "/tree";

/// The node id of the root where it is not at the top. Inode numbers do not come this far.
const BELOW: NodeId = NodeId(1 << 63);
/// No inode has it.
const NOBODY: NodeId = NodeId(0);

/// Where the root is.
#[derive(Debug, Default)]
pub(super) struct Top {
    /// Set once, before the mount is in anybody's sight.
    below: AtomicBool,
    /// How often the kernel has asked for an attribute of the root.
    asked: AtomicU32,
}

impl Top {
    /// From now on the root is one step below the top.
    pub(super) fn step_down(&self) {
        self.below.store(true, Ordering::Release);
    }

    /// The path of the root from the top.
    pub(super) fn root_path(&self) -> &'static str {
        if self.below.load(Ordering::Relaxed) {
            ROOT_PATH
        } else {
            "/"
        }
    }

    /// How often an attribute of the root was asked for.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// A request of the kernel's as one about our tree.
    pub(super) fn translated<'a>(&self, request: &Request<'a>) -> Request<'a> {
        let mut request = *request;
        if request.node == NodeId::ROOT {
            self.at_top(&mut request);
        }
        request.node = Top::from_kernel(request.node);
        if let Operation::Rename { args, .. } = &mut request.operation
            && args.newdir == BELOW.0
        {
            args.newdir = NodeId::ROOT.0;
        }
        request
    }

    /// A request about the kernel's top.
    fn at_top(&self, request: &mut Request<'_>) {
        if !self.below.load(Ordering::Acquire) {
            if let Operation::GetXattr { .. } = request.operation {
                self.asked.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        match request.operation {
            Operation::Lookup { name } if name == NAME.as_bytes() => {
                request.operation = Operation::Lookup { name: b"." }
            }
            // Whoever may look into the root may look into this.
            Operation::GetAttr(_) | Operation::GetXattr { .. } => {}
            _ => request.node = NOBODY,
        }
    }

    /// The node of ours that the kernel means.
    pub(super) fn from_kernel(node: NodeId) -> NodeId {
        if node == BELOW { NodeId::ROOT } else { node }
    }

    /// The node id by which the kernel knows a node of ours.
    pub(super) fn to_kernel(&self, node: NodeId) -> NodeId {
        if node == NodeId::ROOT && self.below.load(Ordering::Relaxed) {
            return BELOW;
        }
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::wire;
    use crate::types::{Caller, Unique};

    fn translated<'a>(top: &Top, node: NodeId, operation: Operation<'a>) -> Request<'a> {
        let caller = Caller { uid: 0, gid: 0, tid: 0 };
        let unique = Unique(2);
        top.translated(&Request {
            unique,
            node,
            caller,
            operation,
        })
    }

    #[test]
    fn at_the_top_all_is_as_it_is() {
        let top = Top::default();
        let name = NAME.as_bytes();
        let request = translated(&top, NodeId::ROOT, Operation::Lookup { name });
        assert_eq!(request.node, NodeId::ROOT);
        assert!(matches!(request.operation, Operation::Lookup { name: b"tree" }));
        assert_eq!(top.to_kernel(NodeId::ROOT), NodeId::ROOT);
        let args = wire::GetXattrIn::default();
        translated(&top, NodeId::ROOT, Operation::GetXattr { args, name });
        translated(&top, NodeId(7), Operation::GetXattr { args, name });
        assert_eq!(top.asked(), 1);
    }

    #[test]
    fn below_it_the_root_is_known_by_another_node() {
        let top = Top::default();
        top.step_down();
        assert_eq!(top.to_kernel(NodeId::ROOT), BELOW);
        assert_eq!(top.to_kernel(NodeId(7)), NodeId(7));
        let found = translated(&top, NodeId::ROOT, Operation::Lookup { name: b"tree" });
        assert_eq!(found.node, NodeId::ROOT);
        assert!(matches!(found.operation, Operation::Lookup { name: b"." }));
        let listed = translated(&top, BELOW, Operation::ReadLink);
        assert_eq!(listed.node, NodeId::ROOT);
        let args = wire::Rename2In {
            newdir: BELOW.0,
            flags: 0,
            padding: 0,
        };
        let (old, new) = (&b"a"[..], &b"b"[..]);
        let moved = translated(&top, NodeId(7), Operation::Rename { args, old, new });
        assert!(matches!(moved.operation, Operation::Rename { args, .. } if args.newdir == NodeId::ROOT.0));
    }

    #[test]
    fn above_it_there_is_nothing_else() {
        let top = Top::default();
        top.step_down();
        for name in [&b"other"[..], b".", b".."] {
            assert_eq!(translated(&top, NodeId::ROOT, Operation::Lookup { name }).node, NOBODY);
        }
        assert_eq!(translated(&top, NodeId::ROOT, Operation::ReadLink).node, NOBODY);
    }
}
