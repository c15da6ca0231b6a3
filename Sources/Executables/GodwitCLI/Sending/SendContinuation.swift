/// What a failed `godwit send` of a file says: which lines have a result, and how to send the others.
package struct SendContinuation {
    /// As on the command line; `-` is standard input.
    package var file: String
    /// The line of the last push with a result, counted from 1; 0: there is none.
    package var lastLine: Int
    package var accepted: Int
    package var refused: Int
    /// Whether any part of the file may have reached the gateway.
    package var isStarted: Bool
    /// Whether each push has a result.
    package var isComplete: Bool
    /// Whether the gateway reported that it accepted nothing after the last push with a result.
    package var isRestUnread: Bool
    /// Whether a repeated command continues: it has an idempotency key, and the failure is temporary.
    package var isRepeatable: Bool

    package init(
        file: String, lastLine: Int, accepted: Int, refused: Int, isStarted: Bool, isComplete: Bool,
        isRestUnread: Bool, isRepeatable: Bool
    ) {
        self.file = file
        self.lastLine = lastLine
        self.accepted = accepted
        self.refused = refused
        self.isStarted = isStarted
        self.isComplete = isComplete
        self.isRestUnread = isRestUnread
        self.isRepeatable = isRepeatable
    }

    /// A clause to append to the failure.
    package var text: String {
        let counts = "\(accepted.grouped) accepted, \(refused.grouped) refused"
        if isComplete { return "all lines have a result (\(counts)): do not send the file again" }
        let lines =
            lastLine > 0
            ? "the lines up to \(lastLine.grouped) have a result (\(counts))" : isStarted ? "no line has a result" : ""
        if isRepeatable {
            return (lines.isEmpty ? "" : lines + "; ") + "repeat the same command: no push is accepted twice"
        }
        guard isStarted else { return "no line was sent" }
        if lastLine == 0, isRestUnread { return "no line was accepted" }
        let doubt = isRestUnread ? "" : ", later ones may have been accepted without one and would be delivered twice"
        return "\(lines)\(doubt); \(advice)"
    }

    private var advice: String {
        if file == "-" { return "to send the rest, start at line \((lastLine + 1).grouped) of the input" }
        return
            "to send the rest with the same options: tail -n +\(lastLine + 1) \(Self.quoted(file)) | godwit send --file -"
    }

    /// The line with which the rest begins, counted from 1; nil if there is no rest.
    package var nextLine: Int? { isComplete ? nil : lastLine + 1 }

    /// A word for a shell.
    private static func quoted(_ text: String) -> String {
        text.allSatisfy { $0.isLetter || $0.isNumber || "._/-+,:=@%".contains($0) }
            ? text : "'" + text.replacing("'", with: #"'\''"#) + "'"
    }
}
