import APNSKit
import HTTP2Session
import Testing

@Suite struct `Early GOAWAY` {
    private func read(_ bytes: [UInt8]) -> HTTP2GoAway? { bytes.withUnsafeBytes { EarlyGoAway.read($0) } }
    private let frame: [UInt8] = [0, 0, 10, 7, 0, 0, 0, 0, 0, 0x80, 0, 0, 5, 0, 0, 0, 7, 0x68, 0x69]

    @Test func `a whole frame is read`() {
        #expect(read(frame) == HTTP2GoAway(lastStream: 5, code: .refusedStream, debugData: [0x68, 0x69]))
        #expect(read(frame + [0, 0, 0])?.debugData == [0x68, 0x69])
    }

    @Test func `anything but a whole GOAWAY frame is not read`() {
        for count in 0..<frame.count { #expect(read(Array(frame.prefix(count))) == nil) }
        var settings = frame
        settings[3] = 4
        #expect(read(settings) == nil)
        var short = frame
        short[2] = 7
        #expect(read(short) == nil)
        #expect(read([0xFF, 0xFF, 0xFF, 7] + [UInt8](repeating: 0, count: 100)) == nil)
    }
}
