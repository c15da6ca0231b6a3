import APNSWire
import Foundation
import NIOCore
import PushModel
import Testing

@testable import PushAccept

@Suite struct `Stored responses` {
    private static let batch = BatchID(APNSID(high: 0x0193_F1C2_7A5E_7C3D, low: 0x8F00_1A2B_3C4D_0000))!
    private static let at = WallTime(milliseconds: 1_763_899_200_123)

    private static let response = StoredResponse(
        format: .array,
        runs: [
            .accepted(firstItem: 0, count: 2, batch: batch, firstPush: 7, at: at, nil),
            .refused(index: 2, Refusal(.unknownApp, field: .known(.app), .text("not configured"))),
            .accepted(
                firstItem: 3, count: 1, batch: batch, firstPush: 0, at: at,
                DeliveryDelay(reason: .backlog, estimate: .zero)
            ),
        ]
    )

    /// Made with `protoc --encode=godwit.v1.IdempotentResponse` from the same values. Stored responses outlive the version
    /// that wrote them, so these bytes must stay readable.
    private static let golden = """
        0802121f0a1d080212100193f1c27a5e7c3d8f001a2b3c4d0000180720fba4d784ab33126f126d7b22696e646578223a322c
        22737461747573223a2272656675736564222c22636f6465223a333031372c226572726f72223a22756e6b6e6f776e5f6170
        70222c226669656c64223a22617070222c2264657461696c223a226170703a206e6f7420636f6e66696775726564227d1223
        0a21080112100193f1c27a5e7c3d8f001a2b3c4d000020fba4d784ab332a0408051000
        """

    @Test func `are encoded as their Protocol Buffers message`() {
        #expect(Self.hex(Self.response.encoded()) == Self.golden.filter { $0 != "\n" })
    }

    @Test func `produce the same body after decoding`() throws {
        let read = try #require(StoredResponse(Self.bytes(Self.golden)))
        #expect(read.format == .array)
        let body = Self.body(read)
        #expect(body == Self.body(Self.response))
        #expect(body.contains(#""msg_id":"0193f1c2-7a5e-7c3d-8f00-1a2b3c4d0008""#))
        #expect(body.contains(#""delayed":"backlog","estimate":0"#))
        #expect(StoredResponse(read.encoded())?.encoded() == Self.response.encoded(), "decoding and encoding again")
    }

    @Test(arguments: [
        "", "0801", "0804" + golden.filter { $0 != "\n" }.dropFirst(4), "08021200", "0802ff",
        // 1,000 pushes from index 1 on, a batch id of 15 bytes, an unknown reason of a delay.
        "080212190a1708e80712100193f1c27a5e7c3d8f001a2b3c4d00001801",
        "080212150a130801120f0193f1c27a5e7c3d8f001a2b3c4d00",
        "0802121a0a18080112100193f1c27a5e7c3d8f001a2b3c4d00002a020863",
    ])
    func `that this version cannot read are rejected`(hex: String) {
        #expect(StoredResponse(Self.bytes(hex)) == nil)
    }

    private static func body(_ response: StoredResponse) -> String {
        var json: [UInt8] = []
        var writer = BulkResponseWriter(format: .json)
        writer.append(BulkSession.Page(runs: response.runs, isLast: true, itemCount: 0, stop: nil), to: &json)
        return String(decoding: json, as: UTF8.self)
    }

    private static func hex(_ data: Data) -> String { data.map { String(format: "%02x", $0) }.joined() }

    private static func bytes(_ hex: String) -> Data {
        let digits = Array(hex.utf8.filter { $0 != UInt8(ascii: "\n") })
        return Data(
            stride(from: 0, to: digits.count - 1, by: 2).map { index in
                UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)!
            })
    }
}
