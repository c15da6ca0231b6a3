import APNSWire
import CCRC32C
package import Foundation
package import PushModel

/// The checksum of stored messages: field 100, a `fixed32` that comes last, with the CRC-32C of all bytes before it.
package enum StoredChecksum {
    /// The tag of field 100 with wire type 5.
    private static let tag: [UInt8] = [0xA5, 0x06]
    package static let byteCount = tag.count + 4
    /// A value for the field in a message that is serialized next; 0 would leave the field out.
    static let placeholder = UInt32.max

    /// Replaces the placeholder at the end of a serialized message.
    ///
    /// - Parameter batch: the batch whose id the checksum covers too.
    package static func fill(_ bytes: inout Data, of batch: BatchID? = nil) {
        let end = bytes.count - 4
        bytes.withUnsafeMutableBytes { raw in
            let crc = checksum(of: UnsafeRawBufferPointer(rebasing: raw[..<(end - tag.count)]), batch)
            raw.storeBytes(of: crc.littleEndian, toByteOffset: end, as: UInt32.self)
        }
    }

    /// - Throws: if the bytes do not end in their checksum.
    static func check(_ bytes: Data, of batch: BatchID? = nil) throws(CodecError) {
        let isIntact = bytes.withUnsafeBytes { raw in
            let end = raw.count - byteCount
            guard end >= 0, raw[end..<end + tag.count].elementsEqual(tag) else { return false }
            let stored = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: end + tag.count, as: UInt32.self))
            return stored == checksum(of: UnsafeRawBufferPointer(rebasing: raw[..<end]), batch)
        }
        guard isIntact else { throw .damaged }
    }

    private static func checksum(of bytes: UnsafeRawBufferPointer, _ batch: BatchID?) -> UInt32 {
        var crc: UInt32 = 0
        if let batch {
            withUnsafeBytes(of: (batch.value.high.bigEndian, batch.value.low.bigEndian)) {
                crc = crc32c_extend(crc, $0.baseAddress, $0.count)
            }
        }
        return crc32c_extend(crc, bytes.baseAddress, bytes.count)
    }
}
