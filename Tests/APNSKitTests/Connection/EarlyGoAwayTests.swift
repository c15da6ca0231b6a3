import APNSKit
import HTTP2Session
import Testing

@Suite struct `Early GOAWAY` {
    private func read(_ bytes: [UInt8]) -> HTTP2GoAway? { bytes.withUnsafeBytes { EarlyGoAway.read($0) } }
    private let frame: [UInt8] = [0, 0, 10, 7, 0, 0, 0, 0, 0, 0x80, 0, 0, 5, 0, 0, 0, 7, 0x68, 0x69]
    private let expected = HTTP2GoAway(lastStream: 5, code: .refusedStream, debugData: [0x68, 0x69])

    private func receive(_ bytes: ArraySlice<UInt8>, _ reader: inout EarlyGoAway) -> EarlyGoAway.Action {
        Array(bytes).withUnsafeBytes { reader.receive($0) }
    }

    @Test func `a whole frame is read`() {
        #expect(read(frame) == expected)
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

    @Test func `a frame is read however it is split`() {
        for first in 1..<frame.count {
            for second in first..<frame.count {
                var reader = EarlyGoAway()
                #expect(receive(frame[..<first], &reader) == .wait)
                if second > first { #expect(receive(frame[first..<second], &reader) == .wait) }
                #expect(receive(frame[second...], &reader) == .goAway(expected))
            }
        }
    }

    @Test func `the second of two frames is used if only that one has a reason`() {
        var silent = Array(frame.prefix(17))
        silent[2] = 8
        var reader = EarlyGoAway()
        #expect(receive((silent + frame)[...], &reader) == .goAway(expected))
        reader = EarlyGoAway()
        #expect(receive((frame + silent)[...], &reader) == .goAway(expected))
    }

    @Test func `the session reads all bytes of another frame, however it is split`() {
        let settings: [UInt8] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1]
        for first in 1..<settings.count {
            var reader = EarlyGoAway()
            let action = receive(settings[..<first], &reader)
            guard first <= 3 else {
                #expect(action == .pass(held: []))
                continue
            }
            // The length of a GOAWAY frame is at least 8.
            guard first < 3 else {
                #expect(action == .pass(held: []))
                continue
            }
            #expect(action == .wait)
            #expect(receive(settings[first...], &reader) == .pass(held: Array(settings[..<first])))
            #expect(receive(frame[...], &reader) == .pass(held: []), "only the first frame is read")
        }
    }

    @Test func `a frame that is too long is left to the session`() {
        var reader = EarlyGoAway()
        #expect(receive([0xFF, 0xFF, 0xFF, 7], &reader) == .pass(held: []))
    }
}
