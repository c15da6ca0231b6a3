#if Postgres
import CPostgres

/// A connection string that libpq can read, and the secret in it.
package struct ConnectionString: Sendable {
    package let text: String
    private let password: String?
    /// Hosts, addresses and ports in the order in which they are tried; nil if there is only one, or if a service file
    /// names them.
    private let hosts: Hosts?

    private struct Hosts: Sendable {
        var names: [String]
        var addresses: [String]
        var ports: [String]
    }

    /// - Throws: `invalid`, with a text that quotes nothing of the string.
    package init(_ text: String) throws(PostgresError) {
        var failure: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(text, &failure) else {
            defer { PQfreemem(failure) }
            let reason = failure.map { ServerMessage.withoutQuotes(ServerMessage.sentence(String(cString: $0))) }
            throw PostgresError(.invalid, "the connection string is not valid: \(reason ?? "out of memory")")
        }
        defer { PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        // A password with one of / : @ that is not percent-encoded ends up in another field, which errors would quote.
        let isURL = text.hasPrefix("postgres://") || text.hasPrefix("postgresql://")
        let fields = [values["host"], values["port"], values["dbname"]].compactMap(\.self)
        if isURL, fields.contains(where: { $0.contains("@") }) {
            throw PostgresError(
                .invalid, "the connection string is not valid: percent-encode special characters of the password")
        }
        for port in Self.list(values["port"]) where !port.isEmpty && UInt16(port) == nil {
            throw PostgresError(
                .invalid,
                "the connection string is not valid: a port is not a number (percent-encode special characters of the password)"
            )
        }
        self.text = text
        password = values["password"]
        let names = Self.list(values["host"])
        let addresses = Self.list(values["hostaddr"])
        hosts =
            max(names.count, addresses.count) > 1
            ? Hosts(names: names, addresses: addresses, ports: Self.list(values["port"])) : nil
    }

    private static func list(_ value: String?) -> [String] {
        value.map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) } ?? []
    }

    /// Words that replace those of the string, so that the hosts are tried from another one on.
    ///
    /// libpq turns to the next host when one refuses, and never when one is silent. So after an attempt that ran out of
    /// time the next one begins with the next host.
    package func hosts(from first: Int) -> [(String, String)] {
        guard let hosts else { return [] }
        return [("host", hosts.names), ("hostaddr", hosts.addresses), ("port", hosts.ports)].compactMap { word, list in
            guard list.count > 1 else { return nil }
            let start = first % list.count
            return (word, (list[start...] + list[..<start]).joined(separator: ","))
        }
    }

    /// Replaces the password in a text of libpq or the server.
    package func withoutSecrets(_ text: String) -> String {
        guard let password, password.utf8.count >= 3 else { return text }
        return text.split(separator: password, omittingEmptySubsequences: false).joined(separator: "…")
    }
}
#endif
