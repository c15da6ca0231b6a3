import Foundation
import PushStore
import Testing

@Suite struct `The hash of a device token` {
    /// Source: `vectors_sip64` of the reference implementation (github.com/veorq/SipHash): the input is 00 01 02 …, of
    /// the length given here.
    @Test(
        arguments: [
            (0, 0x726F_DB47_DD0E_0E31), (1, 0x74F8_39C5_93DC_67FD), (7, 0xAB02_00F5_8B01_D137),
            (8, 0x93F5_F579_9A93_2462), (15, 0xA129_CA61_49BE_45E5), (16, 0x3F2A_CC7F_57C2_9BDB),
            (63, 0x958A_324C_EB06_4572),
        ] as [(Int, UInt64)])
    func `is that of the reference implementation`(count: Int, expected: UInt64) throws {
        let key = try #require(TokenHashKey(bytes: Data(0..<16)))
        let hash = Array(0..<UInt8(count)).withUnsafeBytes { key.sipHash($0) }
        #expect(hash == expected)
        let short = Array(0..<UInt8(count)).withUnsafeBytes { key.hash($0) }
        #expect(short == UInt32(truncatingIfNeeded: expected))
    }

    @Test func `has a key of its own for each store`() throws {
        let key = TokenHashKey.random()
        #expect(key != TokenHashKey.random())
        #expect(TokenHashKey(bytes: key.bytes) == key)
        #expect(TokenHashKey(bytes: key.bytes.dropLast()) == nil)
    }
}
