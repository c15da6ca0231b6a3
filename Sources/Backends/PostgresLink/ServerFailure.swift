/// An error that the server reported, and what follows from it for the call and its session. Pure.
package struct ServerFailure: Equatable {
    /// What to do with the call.
    package enum Remedy: Equatable {
        /// Report the error; the session stays.
        case report
        /// Execute the call again in the same session: another transaction was in its way.
        case repeatCall
        /// Open another session, and execute the call again there, once.
        case repeatInNewSession
        /// Report the error and open another session.
        case replaceSession
    }

    package var error: PostgresError
    package var remedy: Remedy

    /// - Parameters:
    ///   - sqlState: five characters, or empty if the client library reported the error.
    ///   - isFatal: whether the server closes the session.
    ///   - function: the function of the server that reported the error. Unlike the message it is not translated.
    ///   - hasExecuted: whether all statements had been executed when the error came, so that a transaction may have
    ///     been committed.
    package init(
        sqlState: String, isFatal: Bool, message: String, function: String = "", constraint: String? = nil,
        statement: String? = nil, hasExecuted: Bool
    ) {
        // An error rolls the transaction back, even one that COMMIT reports. Only a session that ends in between leaves
        // it open.
        let isOutcomeKnown = !(isFatal && hasExecuted)
        let (kind, remedy) = Self.classify(sqlState, function: function, isOutcomeKnown: isOutcomeKnown)
        error = PostgresError(
            kind, ServerMessage.sentence(message, sqlState: sqlState), sqlState: sqlState.isEmpty ? nil : sqlState,
            statement: statement, constraint: constraint)
        self.remedy = isFatal && (remedy == .report || remedy == .repeatCall) ? .replaceSession : remedy
        if isFatal, !isOutcomeKnown { error.kind = .unavailable(isOutcomeKnown: false) }
    }

    // "PostgreSQL Error Codes" in the documentation of PostgreSQL 15, read 2026-11-30.
    private static func classify(
        _ sqlState: String, function: String, isOutcomeKnown: Bool
    ) -> (PostgresError.Kind, Remedy) {
        switch sqlState {
        case "53100", "53200": return (.full, .report)
        case "XX001", "XX002": return (.broken, .report)
        case "40001", "40P01": return (.conflict, .repeatCall)
        // The outcome is unknown to the server itself.
        case "40003", "08007": return (.unavailable(isOutcomeKnown: false), .replaceSession)
        // Read-only: a standby, or a primary that was demoted. The next session looks for the primary.
        case "25006": return (.unavailable(isOutcomeKnown: true), .repeatInNewSession)
        // The prepared statement is gone, or its result changed with a migration.
        case "26000": return (.unavailable(isOutcomeKnown: true), .repeatInNewSession)
        case "0A000" where function == "RevalidateCachedQuery":
            return (.unavailable(isOutcomeKnown: true), .repeatInNewSession)
        // Timeouts of the session: statement_timeout, lock_timeout.
        case "57014", "55P03": return (.unavailable(isOutcomeKnown: true), .report)
        default: break
        }
        switch sqlState.prefix(2) {
        // The connection; an operator's intervention.
        case "08", "57": return (.unavailable(isOutcomeKnown: isOutcomeKnown), .replaceSession)
        // Resources; the state of objects; a system or internal error.
        case "53", "55", "58", "XX": return (.unavailable(isOutcomeKnown: isOutcomeKnown), .report)
        // The session's transaction state is not what the link expects.
        case "25": return (.unavailable(isOutcomeKnown: isOutcomeKnown), .replaceSession)
        case "": return (.unavailable(isOutcomeKnown: isOutcomeKnown), .replaceSession)
        default: return (.invalid, .report)
        }
    }
}

/// Texts of the server and of libpq in a form for logs and errors.
package enum ServerMessage {
    /// Bytes of a sentence.
    package static let lengthMax = 400

    /// One line of at most `lengthMax` bytes without a full stop and without values.
    package static func sentence(_ text: String, sqlState: String = "") -> String {
        var parts: [String] = []
        for line in text.split(whereSeparator: \.isNewline) {
            var line = line.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
            while line.last == "." { line.removeLast() }
            if !line.isEmpty, line != parts.last { parts.append(line) }
        }
        var sentence = parts.joined(separator: "; ")
        // Messages of class 22, data exceptions, quote the value.
        if sqlState.hasPrefix("22") { sentence = withoutQuotes(sentence) }
        guard sentence.utf8.count > lengthMax else { return sentence.isEmpty ? "no message" : sentence }
        return String(decoding: sentence.utf8.prefix(lengthMax), as: UTF8.self) + "…"
    }

    /// Replaces everything in double quotes.
    package static func withoutQuotes(_ text: String) -> String {
        var parts = text.split(separator: "\"", omittingEmptySubsequences: false).map(String.init)
        for index in stride(from: 1, to: parts.count, by: 2) { parts[index] = "…" }
        return parts.joined(separator: "\"")
    }
}
