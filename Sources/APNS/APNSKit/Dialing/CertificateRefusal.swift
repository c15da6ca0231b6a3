/// Detects that a server refuses the client's certificate.
///
/// In TLS 1.3 the client's handshake is complete before the server has read the certificate; the refusal follows as an
/// alert (RFC 8446, section 4.4.2.4), which looks like any other TLS error.
enum CertificateRefusal {
    /// The alerts about a certificate, as BoringSSL names them (RFC 8446, section 6.2).
    private static let alerts = [
        "ALERT_BAD_CERTIFICATE", "ALERT_UNSUPPORTED_CERTIFICATE", "ALERT_CERTIFICATE_REVOKED",
        "ALERT_CERTIFICATE_EXPIRED", "ALERT_CERTIFICATE_UNKNOWN", "ALERT_UNKNOWN_CA", "ALERT_ACCESS_DENIED",
        "ALERT_CERTIFICATE_REQUIRED",
    ]

    /// - Parameter error: from the TLS handler.
    static func isReported(by error: any Error) -> Bool {
        let text = "\(error)"
        return alerts.contains { text.contains($0) }
    }
}
