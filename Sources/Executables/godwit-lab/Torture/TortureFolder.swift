import Foundation
import GodwitCLI
import Synchronization

/// The folder of a run: its logs, and the store and configuration of the gateway.
struct TortureFolder: Sendable {
    let path: String

    /// Opens the folder of an earlier run.
    init(existing path: String) throws {
        guard FileManager.default.fileExists(atPath: "\(path)/client.log") else {
            throw CommandError("\(path) has no logs of a run: client.log is missing")
        }
        self.path = path
    }

    /// Creates the folder.
    ///
    /// - Parameter path: nil for a new folder in the system's temporary folder.
    init(_ path: String?) throws {
        let path =
            path ?? FileManager.default.temporaryDirectory.appending(path: "godwit-torture-\(UUID().uuidString)").path
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw CommandError("folder \(path) cannot be created: \(PlainReason.of(error))")
        }
        self.path = path
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func write(_ text: String, to name: String) throws {
        do {
            try text.write(toFile: file(name), atomically: true, encoding: .utf8)
        } catch {
            throw CommandError("\(file(name)) cannot be written: \(PlainReason.of(error))")
        }
    }

    /// Reads the logs from the disk.
    func logs() throws -> TortureLogs {
        TortureLogs(
            client: try TortureLog<ClientLine>.read(file("client.log")),
            apns: try TortureLog<APNSLine>.read(file("apns.log")),
            store: try TortureLog<StoreLine>.read(file("store.log")),
            events: try TortureLog<EventLine>.read(file("events.log"))
        )
    }
}

/// An append-only file of JSON lines.
final class TortureLog<Line: Codable & Sendable>: Sendable {
    private let file: Mutex<FileHandle>

    /// - Throws: `CommandError` if the file exists already: a log belongs to one run.
    init(_ path: String) throws {
        guard !FileManager.default.fileExists(atPath: path) else {
            throw CommandError("\(path) exists already; use a separate folder for each run")
        }
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw CommandError("\(path) cannot be written") }
        file = Mutex(handle)
    }

    func append(_ lines: [Line]) throws {
        guard !lines.isEmpty else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var bytes = Data()
        for line in lines {
            bytes += try encoder.encode(line)
            bytes.append(UInt8(ascii: "\n"))
        }
        try file.withLock { try $0.write(contentsOf: bytes) }
    }

    static func read(_ path: String) throws -> [Line] {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw CommandError("\(path) cannot be read")
        }
        let decoder = JSONDecoder()
        var number = 0
        return try bytes.split(separator: UInt8(ascii: "\n")).map { line in
            number += 1
            do {
                return try decoder.decode(Line.self, from: line)
            } catch {
                throw CommandError("\(path):\(number): not a line of such a log")
            }
        }
    }
}

/// UNIX milliseconds by the clock that gateway and simulator also read.
enum TortureTime {
    static var now: Int64 { Int64(Date().timeIntervalSince1970 * 1000) }
}
