//! Errors as JavaScript sees them: names of system errors as Node gives them, and codes of our own.

use std::io;

use crate::net::{IoText, TlsError};

/// A system error for JavaScript: its code, a zero and its words.
pub(super) fn system_error(error: &io::Error) -> String {
    format!("{}\0{}", system_error_code(error), IoText(error))
}

/// What `js/tls-options.js` has not found wrong with `ssl`, under the codes it uses.
pub(super) fn tls_error(error: TlsError) -> napi::Error<&'static str> {
    let code = match error {
        TlsError::Key => "ERR_CAMP_TLS_KEY",
        TlsError::Certificate(_) => "ERR_CAMP_TLS_CERT",
        TlsError::Mismatch => "ERR_CAMP_TLS_MISMATCH",
        TlsError::ClientRoot(_) => "ERR_CAMP_TLS_CA",
        TlsError::Versions => "ERR_CAMP_TLS_UNSUPPORTED",
    };
    napi::Error::new(code, format!("{error}."))
}

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
