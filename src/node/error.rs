//! Errors as JavaScript sees them: names of system errors as Node gives them, and codes of our own.

use std::io;

use crate::net::TlsError;

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
    if let Some(name) = system_number(error).and_then(file_error_name) {
        return name;
    }
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
        // The system's has a number.
        Kind::QuotaExceeded if system_number(error).is_none() => "ERR_CAMP_STREAM_OVERFLOW",
        Kind::QuotaExceeded => "EDQUOT",
        Kind::ReadOnlyFilesystem => "EROFS",
        Kind::UnexpectedEof => "ERR_CAMP_SOURCE_TRUNCATED",
        // The resolver's failures have neither a kind nor a number of the system.
        _ if system_number(error).is_none() => "ENOTFOUND",
        _ => "EIO",
    }
}

/// The system's number of an error, also of one that others explain.
fn system_number(error: &io::Error) -> Option<i32> {
    let inner = || error.get_ref()?.source()?.downcast_ref::<io::Error>()?.raw_os_error();
    error.raw_os_error().or_else(inner)
}

/// Those that files fail with and that have no kind of their own.
#[cfg(unix)]
fn file_error_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::EPERM => "EPERM",
        libc::ESRCH => "ESRCH",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::EBUSY => "EBUSY",
        libc::ENODEV => "ENODEV",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ETXTBSY => "ETXTBSY",
        libc::ESPIPE => "ESPIPE",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ELOOP => "ELOOP",
        libc::EOVERFLOW => "EOVERFLOW",
        libc::ENOTSUP => "ENOTSUP",
        libc::ESTALE => "ESTALE",
        _ => return None,
    })
}

#[cfg(not(unix))]
fn file_error_name(_number: i32) -> Option<&'static str> {
    None
}
