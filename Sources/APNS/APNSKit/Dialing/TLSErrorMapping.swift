import APNSWire
import NIOSSL
import SwiftASN1
import X509

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Names the cause of a failed TLS handshake.
///
/// The TLS library reports a failed verification without its reason, so the certificate that the server sent is examined
/// afterwards. This decides only the text: the library has refused the connection already.
enum TLSErrorMapping {
    static func classify(
        _ error: BoringSSLError, _ host: String, _ certificate: () -> NIOSSLCertificate?
    ) -> APNSConnectionFailure {
        let errors: [BoringSSLInternalError] =
            switch error {
            case .sslError(let stack), .unknownError(let stack), .invalidSNIName(let stack),
                .failedToSetALPN(let stack):
                stack
            default: []
            }
        if errors.contains(.eofDuringHandshake) {
            return APNSConnectionFailure(.tls, .tlsFailed, "\(host) closed the connection during the TLS handshake")
        }
        let reasons = errors.map { reason(in: $0.description) }
        if reasons.contains("CERTIFICATE_VERIFY_FAILED") {
            return classifyVerification(isNameWrong: false, host, certificate)
        }
        let alerts = reasons.compactMap(alert)
        if let alert = alerts.first {
            let isAboutClient = alert.contains("certificate") || alert == "unknown_ca" || alert == "access_denied"
            return APNSConnectionFailure(
                .tls, .tlsRefused,
                isAboutClient
                    ? "\(host) refused the client certificate (TLS alert \(alert))"
                    : "\(host) refused the TLS handshake (TLS alert \(alert))"
            )
        }
        if reasons.contains("WRONG_VERSION_NUMBER") || reasons.contains("HTTP_REQUEST") {
            return APNSConnectionFailure(.tls, .tlsFailed, "\(host) does not speak TLS on this port")
        }
        return APNSConnectionFailure(
            .tls, .tlsFailed, "TLS handshake failed\(reasons.first.map { " (\($0.prefix(60)))" } ?? "")")
    }

    /// The reason in an error of BoringSSL, such as `error:…:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER at …`.
    private static func reason(in text: String) -> String {
        guard let range = text.firstRange(of: "OPENSSL_internal:") else { return "" }
        return String(text[range.upperBound...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
    }

    /// The alert in a reason: `SSLV3_ALERT_HANDSHAKE_FAILURE`, `TLSV1_ALERT_UNKNOWN_CA`.
    private static func alert(in reason: String) -> String? {
        guard let range = reason.firstRange(of: "_ALERT_") else { return nil }
        return String(reason[range.upperBound...].prefix(40)).lowercased()
    }

    // MARK: Certificates

    /// The failure of a certificate that was not accepted.
    ///
    /// - Parameter isNameWrong: whether everything but the name was accepted.
    static func classifyVerification(
        isNameWrong: Bool, _ host: String, _ certificate: () -> NIOSSLCertificate?
    ) -> APNSConnectionFailure {
        guard let bytes = try? certificate()?.toDERBytes(), let certificate = try? Certificate(derEncoded: bytes) else {
            return isNameWrong
                ? APNSConnectionFailure(.tls, .certificateForOtherName, "the certificate is not for \(host)")
                : APNSConnectionFailure(.tls, .tlsFailed, "the certificate of \(host) is not accepted")
        }
        return classify(certificate, isNameWrong: isNameWrong, host: host, now: Date())
    }

    /// - Parameter isNameWrong: whether everything but the name was accepted.
    static func classify(
        _ certificate: Certificate, isNameWrong: Bool, host: String, now: Date
    ) -> APNSConnectionFailure {
        if isNameWrong {
            return APNSConnectionFailure(
                .tls, .certificateForOtherName, "the certificate is for \(names(of: certificate)), not for \(host)")
        }
        if certificate.notValidAfter < now {
            return APNSConnectionFailure(
                .tls, .certificateExpired, "the certificate of \(host) expired at \(text(certificate.notValidAfter))")
        }
        if now < certificate.notValidBefore {
            return APNSConnectionFailure(
                .tls, .certificateNotYetValid,
                "the certificate of \(host) is not valid before \(text(certificate.notValidBefore)); the clock of this host is at \(text(now))"
            )
        }
        let issuer = commonName(of: certificate.issuer)
        return APNSConnectionFailure(
            .tls, .certificateUntrusted,
            certificate.issuer == certificate.subject
                ? "the certificate of \(host) is self-signed, and is not among the trust roots"
                : "the certificate of \(host) is signed by \(issuer), which leads to no trust root"
        )
    }

    private static func names(of certificate: Certificate) -> String {
        var names: [String] = []
        for name in (try? certificate.extensions.subjectAlternativeNames) ?? SubjectAlternativeNames() {
            switch name {
            case .dnsName(let name): names.append("\(SafeText(name))")
            case .ipAddress(let bytes): names.append(address(bytes.bytes))
            default: break
            }
        }
        if names.isEmpty { names = [commonName(of: certificate.subject)] }
        let more = names.count > 3 ? " and \(names.count - 3) more" : ""
        return names.prefix(3).joined(separator: ", ") + more
    }

    private static func address(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.count == 4 ? bytes.map { "\($0)" }.joined(separator: ".") : "an IPv6 address"
    }

    private static func commonName(of name: DistinguishedName) -> String {
        for attribute in name.flatMap({ Array($0) }) where attribute.type == .RDNAttributeType.commonName {
            return "\"\(SafeText("\(attribute.value)"))\""
        }
        return "a certificate without a common name"
    }

    private static func text(_ date: Date) -> String {
        date.formatted(.iso8601)
    }
}
