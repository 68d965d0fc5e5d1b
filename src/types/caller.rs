//! Who caused a request.

/// The thread whose system call caused the request, as the kernel's request header tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Filesystem uid.
    pub uid: u32,
    /// Filesystem gid.
    pub gid: u32,
    /// Thread id in the mounter's PID namespace; 0 when the caller is outside of it (kernel-facts, "Who is asking").
    pub tid: u32,
}
