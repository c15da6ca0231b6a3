import CCRC32C
import PushModel
import Testing

@Suite struct `CRC-32C` {
    private func checksum(_ bytes: [UInt8], isPortable: Bool = false) -> UInt32 {
        bytes.withUnsafeBytes {
            isPortable
                ? crc32c_extend_portable(0, $0.baseAddress, $0.count) : crc32c_extend(0, $0.baseAddress, $0.count)
        }
    }

    /// Source: RFC 3720, B.4.
    @Test(arguments: [false, true])
    func `has the values of the specification`(isPortable: Bool) {
        #expect(checksum([], isPortable: isPortable) == 0)
        #expect(checksum(Array("123456789".utf8), isPortable: isPortable) == 0xE306_9283)
        #expect(checksum([UInt8](repeating: 0, count: 32), isPortable: isPortable) == 0x8A91_36AA)
        #expect(checksum([UInt8](repeating: 255, count: 32), isPortable: isPortable) == 0x62A8_AB43)
        #expect(checksum([UInt8](0..<32), isPortable: isPortable) == 0x46DD_794E)
    }

    @Test func `is the same with and without the instruction of the processor, as a whole and in parts`() {
        var generator = SeededGenerator(seed: 1)
        for count in 0..<70 {
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            #expect(checksum(bytes) == checksum(bytes, isPortable: true))
            let cut = count / 3
            let parts = bytes.withUnsafeBytes { raw in
                let first = crc32c_extend(0, raw.baseAddress, cut)
                return crc32c_extend(first, raw[cut...].isEmpty ? nil : raw.baseAddress! + cut, count - cut)
            }
            #expect(parts == checksum(bytes))
        }
    }
}
