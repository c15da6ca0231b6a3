import Testing

/// A rule about the sources that the compiler does not check.
struct HouseRule: Sendable, CustomTestStringConvertible {
    let name: String
    /// Whether the rule applies to a file, by its path from the root.
    let covers: @Sendable (String) -> Bool
    /// The lines of a file that break the rule, numbered from 1.
    let breaches: @Sendable (SourceText) -> [Int]
    /// Files that may break the rule, each with the reason.
    var exceptions: [String: String] = [:]
    /// Samples that break the rule, and samples that do not.
    let bad: [String]
    let good: [String]

    var testDescription: String { name }

    func findings(in files: [SourceText]) -> [String] {
        files.filter { covers($0.path) && exceptions[$0.path] == nil }
            .flatMap { file in breaches(file).map { "\(file.path):\($0): \(name)" } }
    }

    /// Exceptions that no file needs.
    func idleExceptions(in files: [SourceText]) -> [String] {
        exceptions.keys.filter { path in
            !files.contains { $0.path == path && covers(path) && !breaches($0).isEmpty }
        }
    }
}

extension HouseRule {
    static let all: [HouseRule] =
        [
            noPrint, noStrayTask, unsafeIsExplained, noLeftovers, timeComesIn, noMachinePaths, publicOnlyInProducts,
            systemLibraries,
        ] + pureModules

    /// Standard output belongs to the commands. A library returns a value, throws an error or logs.
    static let noPrint = HouseRule(
        name: "print belongs to Executables",
        covers: { $0.hasPrefix("Sources/") && !$0.hasPrefix("Sources/Executables/") },
        breaches: { $0.lines(matching: /\b(?:debugPrint|print|dump)\(/) },
        bad: ["print(1)", "debugPrint(x)", #"let a = "\(print(1))""#],
        good: ["// print(1)", #"let a = "print(1)""#, "fingerprint(1)"]
    )

    /// An unstructured task outlives its creator, and no code sees its failure.
    static let noStrayTask = HouseRule(
        name: "no Task { } outside of the files that need one",
        covers: { $0.hasPrefix("Sources/") },
        breaches: { $0.lines(matching: /\bTask(?:\.detached)?(?:<[^>]*>)?\s*(?:\([^)]*\)\s*)?\{/) },
        exceptions: HouseExceptions.tasks,
        bad: ["Task { }", "Task.detached { await f() }", "Task(priority: .low) { }", "let t = Task<Void, Never> { }"],
        good: ["withTaskGroup { }", "group.addTask { }", "Task.sleep(for: x)", "// Task { }"]
    )

    /// Code that switches off the compiler's checks states the invariant that replaces them.
    static let unsafeIsExplained = HouseRule(
        name: "unsafe code without a SAFETY: comment in the lines before it",
        covers: {
            // HTTP2Session explains its use of the C library once, and generated code needs no explanation.
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

    /// Unfinished work is an issue, not a comment.
    static let noLeftovers = HouseRule(
        name: "no TODO, FIXME or XXX",
        covers: { $0.hasPrefix("Sources/") || $0.hasPrefix("Tests/") },
        breaches: { file in
            file.comments.indices.filter { file.comments[$0].contains(/\b(?:TODO|FIXME|XXX)\b/) }.map { $0 + 1 }
        },
        bad: ["// TODO: later", "let a = 1 /* FIXME */"],
        good: ["// done", #"let a = "TODO""#]
    )

    /// Functions receive the time as an argument, so that a test can set it. Only the listed files read a clock.
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

    /// Programs run wherever their operator installs them.
    static let noMachinePaths = HouseRule(
        name: "no path of a developer's machine",
        covers: { $0.hasPrefix("Sources/") },
        breaches: { file in
            file.comments.indices.filter { (file.comments[$0] + file.code[$0]).contains(#//home/|/Users/|/root//#) }
                .map { $0 + 1 }
        },
        bad: ["// see /home/me/notes"],
        good: ["// see docs/explanation/architecture.md"]
    )

    /// Other packages link the three library products, so only those have a public interface.
    static let publicOnlyInProducts = HouseRule(
        name: "public and open belong to the library products",
        covers: { path in
            path.hasPrefix("Sources/") && !path.contains("/Generated/")
                && !["APNSWire", "APNSKit", "APNSSimulator"].contains { path.hasPrefix("Sources/APNS/\($0)/") }
        },
        breaches: {
            $0.lines(
                matching:
                    /\b(?:public|open) (?:\w+ )*(?:actor|case|class|enum|extension|func|import|init|let|protocol|struct|subscript|typealias|var)\b/
            )
        },
        bad: ["public struct A {}", "    public static let a = 1", "open class A {}", "public import NIOCore"],
        good: ["package struct A {}", "// public struct A", "let publicName = 1"]
    )

    /// The C library has another name on each system, and the libraries run on all of them.
    static let systemLibraries = HouseRule(
        name: "Glibc, Musl and Darwin are imported by one #if, and enums of Glibc are used in its branch",
        covers: { path in
            ["Sources/APNS/", "Sources/Telemetry/", "Tests/APNSKitTests/"].contains { path.hasPrefix($0) }
        },
        breaches: { $0.unguardedSystemLibraries },
        bad: [
            "import Glibc", "#if canImport(Glibc)\nimport Glibc\n#endif",
            "#if os(Linux)\nimport Glibc\n#else\nimport Darwin\n#endif",
            "import Darwin.C", "let a = SOCK_STREAM.rawValue",
            "#if canImport(Glibc)\n#else\nlet a = RLIMIT_NOFILE.rawValue\n#endif",
            "#if canImport(FoundationEssentials)\npublic import FoundationEssentials\n#else\nimport Foundation\n#endif",
        ],
        good: [
            "#if canImport(Glibc)\nimport Glibc\n#elseif canImport(Musl)\nimport Musl\n#else\nimport Darwin\n#endif",
            "#if canImport(Glibc)\nlet a = SOCK_STREAM.rawValue\n#else\nlet a = SOCK_STREAM\n#endif", "// import Glibc",
            "#if canImport(FoundationEssentials)\nimport FoundationEssentials\n#else\nimport Foundation\n#endif",
        ]
    )

    /// The pure modules decide: time and input come in, actions go out. Each may import only what is listed here.
    static let pureModules: [HouseRule] = [
        ("Sources/APNS/JSONText/", []),
        ("Sources/APNS/HTTP2Session/", ["CNGHTTP2"]),
        // Foundation for `JSONEncoder`, which makes JSON of the senders' own types.
        ("Sources/APNS/APNSWire/", ["JSONText", "FoundationEssentials", "Foundation"]),
        ("Sources/Push/PushModel/", ["APNSWire"]),
        // Foundation for `Data`, which is what SwiftProtobuf has bytes in.
        ("Sources/Push/PushStore/", ["APNSWire", "PushModel", "CCRC32C", "SwiftProtobuf", "Foundation"]),
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
