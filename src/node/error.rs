//! Names of system errors as Node gives them.

use std::io;

/// The code under which Node's users know a system error.
pub(super) fn system_error_code(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "ECONNREFUSED",
        Kind::HostUnreachable => "EHOSTUNREACH",
        Kind::NetworkUnreachable => "ENETUNREACH",
        Kind::NetworkDown => "ENETDOWN",
        Kind::ConnectionReset => "ECONNRESET",
        Kind::ConnectionAborted => "ECONNABORTED",
        Kind::BrokenPipe | Kind::WriteZero => "EPIPE",
        // What the peer sent is not TLS, or was tampered with.
        Kind::InvalidData => "EPROTO",
        Kind::TimedOut => "ETIMEDOUT",
        Kind::AddrInUse => "EADDRINUSE",
        Kind::AddrNotAvailable => "EADDRNOTAVAIL",
        Kind::PermissionDenied => "EACCES",
        Kind::InvalidInput => "EINVAL",
        Kind::OutOfMemory => "ENOMEM",
        Kind::Unsupported => "EAFNOSUPPORT",
        Kind::IsADirectory => "EISDIR",
        Kind::NotADirectory => "ENOTDIR",
        Kind::NotFound => "ENOENT",
        Kind::InvalidFilename => "ENAMETOOLONG",
        Kind::FileTooLarge => "EFBIG",
        Kind::StorageFull => "ENOSPC",
        Kind::QuotaExceeded => "EDQUOT",
        Kind::ReadOnlyFilesystem => "EROFS",
        Kind::UnexpectedEof => "ERR_CAMP_SOURCE_TRUNCATED",
        // The resolver's failures have neither a kind nor a number of the system.
        _ if error.raw_os_error().is_none() => "ENOTFOUND",
        _ => "EIO",
    }
}
