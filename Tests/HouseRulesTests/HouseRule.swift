import Testing

/// A rule about the text of our sources that the compiler does not know.
struct HouseRule: Sendable, CustomTestStringConvertible {
    let name: String
    /// Whether the rule looks at a file, by its path from the root.
    let covers: @Sendable (String) -> Bool
    /// The places of a file that break it, as line numbers from 1.
    let breaches: @Sendable (SourceText) -> [Int]
    /// Files that may, and why.
    var exceptions: [String: String] = [:]
    /// Sources that the rule must find fault with, and ones that it must not.
    let bad: [String]
    let good: [String]

    var testDescription: String { name }

    func findings(in files: [SourceText]) -> [String] {
        files.filter { covers($0.path) && exceptions[$0.path] == nil }
            .flatMap { file in breaches(file).map { "\(file.path):\($0): \(name)" } }
    }

    /// Exceptions that nothing needs any more.
    func idleExceptions(in files: [SourceText]) -> [String] {
        exceptions.keys.filter { path in
            !files.contains { $0.path == path && covers(path) && !breaches($0).isEmpty }
        }
    }
}

extension HouseRule {
    static let all: [HouseRule] =
        [
            noPrint, noStrayTask, unsafeIsExplained, noLeftovers, timeComesIn, noNamesOfPlaces,
        ] + pureRooms

    /// Standard output belongs to the commands; a library tells its caller, or logs.
    static let noPrint = HouseRule(
        name: "print belongs to Executables",
        covers: { $0.hasPrefix("Sources/") && !$0.hasPrefix("Sources/Executables/") },
        breaches: { $0.lines(matching: /\b(?:debugPrint|print|dump)\(/) },
        bad: ["print(1)", "debugPrint(x)", #"let a = "\(print(1))""#],
        good: ["// print(1)", #"let a = "print(1)""#, "fingerprint(1)"]
    )

    /// An unstructured task outlives whoever started it, and its failure is seen by nobody.
    static let noStrayTask = HouseRule(
        name: "no Task { } outside of the files that need one",
        covers: { $0.hasPrefix("Sources/") },
        breaches: { $0.lines(matching: /\bTask(?:\.detached)?(?:<[^>]*>)?\s*(?:\([^)]*\)\s*)?\{/) },
        exceptions: HouseExceptions.tasks,
        bad: ["Task { }", "Task.detached { await f() }", "Task(priority: .low) { }", "let t = Task<Void, Never> { }"],
        good: ["withTaskGroup { }", "group.addTask { }", "Task.sleep(for: x)", "// Task { }"]
    )

    /// Whoever switches the compiler's checks off says what holds in their place.
    static let unsafeIsExplained = HouseRule(
        name: "unsafe code without a SAFETY: comment in the lines before it",
        covers: {
            // The session on the C library is explained once for its whole class, and generated code not at all.
            $0.hasPrefix("Sources/") && !$0.hasPrefix("Sources/APNS/HTTP2Session/") && !$0.contains("/Generated/")
        },
        breaches: { file in
            let pattern = #/@unchecked Sendable|nonisolated\(unsafe\)|\bUnmanaged\b|unsafeBitCast|\bunsafe[A-Z]\w*\(/#
            return file.lines(matching: pattern).filter { line in
                !file.comments[max(0, line - 11)..<line].contains { $0.contains("SAFETY:") }
            }
        },
        bad: [
            "final class A: @unchecked Sendable {}", "let p = Unmanaged.passRetained(x)",
            "nonisolated(unsafe) var a = 1",
        ],
        good: [
            "// SAFETY: only the loop touches it.\nfinal class A: @unchecked Sendable {}", "final class A: Sendable {}",
        ]
    )

    /// What is left for later is an issue, not a comment.
    static let noLeftovers = HouseRule(
        name: "no TODO, FIXME or XXX",
        covers: { $0.hasPrefix("Sources/") || $0.hasPrefix("Tests/") },
        breaches: { file in
            file.comments.indices.filter { file.comments[$0].contains(/\b(?:TODO|FIXME|XXX)\b/) }.map { $0 + 1 }
        },
        bad: ["// TODO: later", "let a = 1 /* FIXME */"],
        good: ["// done", #"let a = "TODO""#]
    )

    /// Time comes in as an argument, so that a test can say what time it is. The few files that read a clock are known.
    static let timeComesIn = HouseRule(
        name: "clocks are read in the listed files only",
        covers: {
            $0.hasPrefix("Sources/") && !$0.hasPrefix("Sources/Executables/") && !$0.hasPrefix("Sources/Testing/")
        },
        breaches: {
            $0.lines(
                matching:
                    #/\bDate\(\)|\bDate\.now\b|Clock\.now\b|\bClock\(\)\.now\b|\bclock_gettime\b|\bgettimeofday\b|NIODeadline\.now\(|\bDispatchTime\.now\(/#
            )
        },
        exceptions: HouseExceptions.clocks,
        bad: [
            "let a = Date()", "let a = ContinuousClock.now", "clock_gettime(CLOCK_REALTIME, &t)", "NIODeadline.now()",
        ],
        good: ["let a = Date(timeIntervalSince1970: 1)", "func f(now: WallTime)", "// Date()"]
    )

    /// Programs run where their operator puts them.
    static let noNamesOfPlaces = HouseRule(
        name: "no path of somebody's machine",
        covers: { $0.hasPrefix("Sources/") },
        breaches: { file in
            file.comments.indices.filter { (file.comments[$0] + file.code[$0]).contains(#//home/|/Users/|/work//#) }
                .map { $0 + 1 }
        },
        bad: ["// see /home/me/notes"],
        good: ["// see docs/explanation/architecture.md"]
    )

    /// The pure rooms decide; they neither wait nor talk. What they may import is written here in full.
    static let pureRooms: [HouseRule] = [
        ("Sources/APNS/JSONText/", []),
        ("Sources/APNS/HTTP2Session/", ["CNGHTTP2"]),
        // Foundation for `JSONEncoder`, which makes JSON of the senders' own types.
        ("Sources/APNS/APNSWire/", ["JSONText", "FoundationEssentials", "Foundation"]),
        ("Sources/Push/PushModel/", ["APNSWire"]),
        // Foundation for `Data`, which is what SwiftProtobuf has bytes in.
        ("Sources/Push/PushStore/", ["APNSWire", "PushModel", "SwiftProtobuf", "Foundation"]),
    ].map { folder, allowed in
        HouseRule(
            name: "\(folder) imports \(allowed.isEmpty ? "nothing" : allowed.joined(separator: ", ")) only",
            covers: { $0.hasPrefix(folder) && !$0.contains("/Generated/") },
            breaches: { $0.imports.subtracting(allowed).isEmpty ? [] : [1] },
            bad: [
                "import NIOPosix", "package import NIOCore", "@preconcurrency import Logging",
                "import struct Dispatch.A",
            ],
            good: ["// import Dispatch"] + allowed.map { "package import \($0)" }
        )
    }
}

extension SourceText {
    /// Numbers, from 1, of the lines whose code matches.
    ///
    /// `\b` is meant as in other languages; Swift's own word boundary does not part `a.b`.
    func lines(matching pattern: Regex<Substring>) -> [Int] {
        let pattern = pattern.wordBoundaryKind(.simple)
        return code.indices.filter { code[$0].contains(pattern) }.map { $0 + 1 }
    }
}
