#if Postgres
import APNSWire
import Foundation
import PostgresLink
import PushModel
import PushStore

/// Flags of a batch. Without a flag the side tables are not looked at.
struct RowMarks: OptionSet, Sendable {
    let rawValue: Int16

    /// Pushes of the batch have a collapse ID.
    static let collapses = RowMarks(rawValue: 1)
    /// `dead_letters` has, or had, pushes of the batch.
    static let deadLetters = RowMarks(rawValue: 2)
    /// A push was replayed while the batch was claimed: its holder does not know of it. `Write` has the number.
    static let replayed = RowMarks(rawValue: 4)
}

extension PostgresUUID {
    init(_ id: BatchID) { self.init(high: id.value.high, low: id.value.low) }
    init(_ id: PushID) { self.init(high: id.value.high, low: id.value.low) }

    var pushID: PushID { PushID(APNSID(high: high, low: low)) }

    func batchID() throws(PostgresError) -> BatchID {
        guard let id = BatchID(APNSID(high: high, low: low)) else {
            throw PostgresError(.invalid, "a batch has the ID of a push")
        }
        return id
    }
}

extension PostgresRows {
    func batchID(_ row: Int, _ column: Int) throws(PostgresError) -> BatchID {
        try value(row, column, as: PostgresUUID.self).batchID()
    }

    func time(_ row: Int, _ column: Int) throws(PostgresError) -> WallTime {
        WallTime(milliseconds: try value(row, column))
    }

    func int16(_ row: Int, _ column: Int) throws(PostgresError) -> Int {
        Int(try value(row, column, as: Int16.self))
    }

    func int32(_ row: Int, _ column: Int) throws(PostgresError) -> Int {
        Int(try value(row, column, as: Int32.self))
    }

    /// The columns app, environment and lane, from `column` on.
    func appLane(_ row: Int, _ column: Int) throws(PostgresError) -> AppLane {
        let environment = try UInt8(exactly: int16(row, column + 1)).flatMap(APNSEnvironment.init(code:))
        let lane = try UInt8(exactly: int16(row, column + 2)).flatMap(Lane.init(rawValue:))
        guard let environment, let lane else {
            throw PostgresError(.invalid, "an environment or a lane is unknown to this version")
        }
        return AppLane(AppEnvironment(AppID(try value(row, column)), environment), lane: lane)
    }
}

extension PostgresParameters {
    mutating func append(ids: some Collection<BatchID>) { append(array: ids.map(PostgresUUID.init)) }
    mutating func append(ids: some Collection<PushID>) { append(array: ids.map(PostgresUUID.init)) }
    mutating func append(times: some Collection<WallTime>) { append(array: times.map(\.milliseconds)) }
}

extension PostgresCall {
    /// - Parameters:
    ///   - name: of the prepared statement.
    ///   - build: appends the parameters.
    init(_ name: String, _ sql: String, _ build: (inout PostgresParameters) -> Void = { _ in }) {
        var parameters = PostgresParameters()
        build(&parameters)
        self.init(PostgresStatement(name, parameters.types, sql), parameters)
    }
}

/// Several values in one column: each with its length before it.
enum ByteList {
    static func encode(_ parts: [Data]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(parts.reduce(0) { $0 + $1.count + 4 })
        for part in parts {
            withUnsafeBytes(of: UInt32(part.count).bigEndian) { bytes.append(contentsOf: $0) }
            bytes.append(contentsOf: part)
        }
        return bytes
    }

    /// nil if the lengths do not fit.
    static func decode(_ bytes: [UInt8]) -> [Data]? {
        var parts: [Data] = []
        var start = 0
        while start < bytes.count {
            guard start + 4 <= bytes.count else { return nil }
            let length = bytes[start..<start + 4].reduce(0) { $0 << 8 | Int($1) }
            start += 4
            guard length <= bytes.count - start else { return nil }
            parts.append(Data(bytes[start..<start + length]))
            start += length
        }
        return parts
    }
}
#endif
