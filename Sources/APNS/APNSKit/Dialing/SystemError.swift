#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// The names of the operating system's errors, as its manual pages and other programs use them.
enum SystemError {
    private static let names: [CInt: String] = [
        EACCES: "EACCES", EADDRINUSE: "EADDRINUSE", EADDRNOTAVAIL: "EADDRNOTAVAIL", EAFNOSUPPORT: "EAFNOSUPPORT",
        EALREADY: "EALREADY", EBADF: "EBADF", ECONNABORTED: "ECONNABORTED", ECONNREFUSED: "ECONNREFUSED",
        ECONNRESET: "ECONNRESET", EHOSTDOWN: "EHOSTDOWN", EHOSTUNREACH: "EHOSTUNREACH", EINTR: "EINTR",
        EINVAL: "EINVAL", EMFILE: "EMFILE", EMSGSIZE: "EMSGSIZE", ENETDOWN: "ENETDOWN", ENETRESET: "ENETRESET",
        ENETUNREACH: "ENETUNREACH", ENFILE: "ENFILE", ENOBUFS: "ENOBUFS", ENOMEM: "ENOMEM",
        ENOPROTOOPT: "ENOPROTOOPT", ENOTCONN: "ENOTCONN", EPERM: "EPERM", EPIPE: "EPIPE",
        EPROTONOSUPPORT: "EPROTONOSUPPORT", ETIMEDOUT: "ETIMEDOUT",
    ]

    private static let resolverNames: [CInt: String] = [
        EAI_AGAIN: "EAI_AGAIN", EAI_FAIL: "EAI_FAIL", EAI_FAMILY: "EAI_FAMILY", EAI_MEMORY: "EAI_MEMORY",
        EAI_NONAME: "EAI_NONAME", EAI_SERVICE: "EAI_SERVICE", EAI_SYSTEM: "EAI_SYSTEM",
    ]

    /// The name of an `errno`, such as `ECONNREFUSED`.
    static func name(_ code: CInt) -> String { names[code] ?? "errno \(code)" }

    /// The name of an error of getaddrinfo(3), such as `EAI_NONAME`.
    static func resolverName(_ code: CInt) -> String { resolverNames[code] ?? "error \(code)" }
}
