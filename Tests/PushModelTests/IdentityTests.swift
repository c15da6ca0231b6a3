import APNSWire
import PushModel
import Testing

@Suite struct `Identity` {
    private let now = WallTime(milliseconds: 0x0190_AABB_CCDD)

    @Test func `a batch ID is a UUIDv7 of its time whose last 16 bits are zero`() {
        for _ in 0..<100 {
            let id = BatchID.random(at: now)
            #expect(id.value.high >> 16 == 0x0190_AABB_CCDD)
            #expect(id.value.high >> 12 & 0xF == 7)
            #expect(id.value.low >> 62 == 0b10)
            #expect(id.value.low & 0xFFFF == 0)
            #expect(id.description.hasPrefix("0190aabb-ccdd-7"))
        }
    }

    @Test func `batch IDs differ and sort by time`() {
        #expect(Set((0..<1000).map { _ in BatchID.random(at: now) }).count == 1000)
        #expect(BatchID.random(at: now) < BatchID.random(at: now + .milliseconds(1)))
    }

    @Test func `a time before 1970 is clamped to 1970`() {
        #expect(BatchID.random(at: WallTime(milliseconds: -5)).value.high >> 16 == 0)
    }

    @Test(arguments: [0, 1, 255, 256, 999])
    func `a push ID contains its batch and index`(index: Int) throws {
        let batch = BatchID.random(at: now)
        let push = batch.push(index)
        #expect(push.batch == batch)
        #expect(push.index == index)
        #expect(PushID(push.description) == push)
        #expect(PushID(push.description.uppercased()) == push)
    }

    @Test func `only an ID that ends in 16 zero bits is a batch ID`() {
        #expect(BatchID(BatchID.random(at: now).push(1).value) == nil)
    }

    @Test(arguments: ["", "x", "0190aabb-ccdd-7e01-8203-04050607000", "0190aabbccdd7e018203040506070000"])
    func `text that is not a UUID is not a push ID`(text: String) {
        #expect(PushID(text) == nil)
    }

    @Test(arguments: [(0, 0), (999, 0), (1000, 1), (-1, -1), (-1000, -1), (-1001, -2)])
    func `seconds are rounded down`(milliseconds: Int64, seconds: Int64) {
        #expect(WallTime(milliseconds: milliseconds).seconds == seconds)
    }

    @Test func `times that overflow are clamped`() {
        #expect(WallTime(seconds: .max) == .distantFuture)
        #expect(WallTime(seconds: .min).milliseconds == .min)
        #expect(WallTime.distantFuture + .seconds(1) == .distantFuture)
        #expect(WallTime(milliseconds: 5) + .milliseconds(7) == WallTime(milliseconds: 12))
    }

    @Test func `lanes are recognized by their labels`() {
        for lane in Lane.allCases { #expect(Lane(label: lane.label) == lane) }
        #expect(Lane(label: "slow") == nil)
        #expect(Lane.urgent < .normal && Lane.normal < .bulk)
    }

    @Test func `a reason is recognized by its text, otherwise kept verbatim`() {
        for reason in APNSReason.allCases where reason != .unknown && reason != .none {
            #expect(ReasonText(text: "\(reason.label)") == .known(reason))
        }
        #expect(ReasonText(text: "") == .known(.none))
        #expect(ReasonText(text: "BrandNew") == .verbatim("BrandNew"))
        #expect(ReasonText(text: "BrandNew").text == "BrandNew")
    }
}
