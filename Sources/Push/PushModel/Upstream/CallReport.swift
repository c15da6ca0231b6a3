/// What one group of answers says about APNs, for the circuit breakers.
package struct CallReport: Sendable, Equatable {
    /// Pushes that APNs answered, whatever the answer was, unless it is a server error.
    package var good = 0
    /// Pushes that each failed on their own: a server error, a refused or reset stream, no answer in time.
    package var failed = 0
    /// Pushes that failed because their connection was lost or could not be opened. All of them are one failed call.
    package var lost = 0
    /// Some of the tokens whose pushes failed.
    package var failedTokens = DistinctTokens()
    /// The code of the last failure.
    package var cause = ErrorCode.none

    package init() {}

    package var hasFailures: Bool { failed + lost > 0 }

    package static func good(_ count: Int) -> CallReport {
        var report = CallReport()
        report.good = count
        return report
    }

    package mutating func addFailure(_ cause: ErrorCode, token: UInt64, isConnectionLost: Bool) {
        if isConnectionLost { lost += 1 } else { failed += 1 }
        failedTokens.insert(token)
        self.cause = cause
    }
}

/// What APNs answered to a probe.
package enum ProbeResult: Sendable, Equatable {
    case good
    case failed(ErrorCode)
    /// The probe was not sent, or its answer says nothing about what it tests.
    case void
}

/// Whether the calls of an app and of its endpoint succeed at present.
package enum UpstreamHealth: Sendable, Equatable {
    /// Too few calls show it.
    case unknown
    /// Other calls succeeded recently.
    case succeeding
    /// A circuit breaker is open: attempts that fail now do not count.
    case failing
}
