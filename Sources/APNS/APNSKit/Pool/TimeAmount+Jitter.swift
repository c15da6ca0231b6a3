import NIOCore

extension TimeAmount {
    /// This amount, plus or minus a random part of up to a tenth.
    var withJitter: TimeAmount { .nanoseconds(nanoseconds / 1000 * Int64.random(in: 900...1100)) }
}
