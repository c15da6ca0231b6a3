import Synchronization

/// All metrics of one process, and their Prometheus text.
///
/// Metrics are registered once, at start, with every label value they will ever have, or with a reading that gives the
/// few of a large table that came up: labels come from closed lists, so no input can add series without end. Changing a metric takes no lock of the registry.
package final class MetricsRegistry: Sendable {
    private let families = Mutex<[any MetricFamily]>([])

    package init() {}

    /// A count of things that happened; the name ends in `_total`.
    package func counter(_ name: String, help: String) -> Counter {
        counters(name, help: help, labels: [])[0]
    }

    /// One counter for each value of a label, or for each combination of the values of several.
    package func counters(_ name: String, help: String, labels: [MetricLabel]) -> LabelledMetrics<Counter> {
        precondition(name.hasSuffix("_total"), "\(name): the name of a counter ends in _total")
        return register(name, help: help, type: "counter", labels: labels) { Counter() }
    }

    /// A figure that goes up and down.
    package func gauge(_ name: String, help: String) -> Gauge {
        gauges(name, help: help, labels: [])[0]
    }

    package func gauges(_ name: String, help: String, labels: [MetricLabel]) -> LabelledMetrics<Gauge> {
        register(name, help: help, type: "gauge", labels: labels) { Gauge() }
    }

    /// A figure that is asked for when somebody reads the metrics: quick to compute, and without blocking.
    package typealias Reading = @Sendable () -> Double

    package func gauge(_ name: String, help: String, read: @escaping Reading) {
        add(ComputedFamily(name: name, help: help, type: "gauge", samples: [("", read)]))
    }

    /// A counter whose figure is kept elsewhere. It must never go down.
    package func counter(_ name: String, help: String, read: @escaping Reading) {
        add(ComputedFamily(name: name, help: help, type: "counter", samples: [("", read)]))
    }

    /// A gauge for each value of a label.
    package func gauges(_ name: String, help: String, label: String, _ readings: [(String, Reading)]) {
        add(ComputedFamily(name: name, help: help, type: "gauge", label: label, readings))
    }

    /// A counter for each value of a label.
    package func counters(_ name: String, help: String, label: String, _ readings: [(String, Reading)]) {
        add(ComputedFamily(name: name, help: help, type: "counter", label: label, readings))
    }

    /// A counter of many series, of which only those are written that have come up. What bounds their number is the
    /// caller's: the values must come from closed lists all the same.
    ///
    /// - Parameter read: the values, each parallel to `labels`, and the figure of each series; no series twice.
    package func counters(
        _ name: String, help: String, labels: [String], read: @escaping @Sendable () -> [(values: [String], Double)]
    ) {
        precondition(name.hasSuffix("_total"), "\(name): the name of a counter ends in _total")
        add(SparseFamily(name: name, help: help, type: "counter", labels: labels, read: read))
    }

    /// The same for a figure that goes up and down.
    package func gauges(
        _ name: String, help: String, labels: [String], read: @escaping @Sendable () -> [(values: [String], Double)]
    ) {
        add(SparseFamily(name: name, help: help, type: "gauge", labels: labels, read: read))
    }

    /// Observations counted in buckets.
    ///
    /// - Parameter bounds: upper bounds, ascending, in the unit of the name; `+Inf` is added.
    package func histogram(_ name: String, help: String, bounds: [Double]) -> Histogram {
        histograms(name, help: help, bounds: bounds, labels: [])[0]
    }

    package func histograms(
        _ name: String, help: String, bounds: [Double], labels: [MetricLabel]
    ) -> LabelledMetrics<Histogram> {
        register(name, help: help, type: "histogram", labels: labels) { Histogram(bounds: bounds) }
    }

    /// All metrics in the Prometheus text format, version 0.0.4, families in the order of their registration.
    ///
    /// Source: Prometheus, "Exposition formats", read 2026-11-23.
    package func exposition() -> String {
        let all = families.withLock { $0 }
        var text = ""
        for family in all { family.write(to: &text) }
        return text
    }

    /// The media type of `exposition()`.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private func register<Metric: WritableMetric>(
        _ name: String, help: String, type: String, labels: [MetricLabel], make: () -> Metric
    ) -> LabelledMetrics<Metric> {
        let metrics = LabelledMetrics(labels: labels, make: make)
        add(StoredFamily(name: name, help: help, type: type, metrics: metrics))
        return metrics
    }

    private func add(_ family: any MetricFamily) {
        precondition(MetricLabel.isName(family.name), "\(family.name) is not a metric name")
        families.withLock { families in
            precondition(!families.contains { $0.name == family.name }, "\(family.name) is registered twice")
            families.append(family)
        }
    }
}

/// A label and every value it may have.
package struct MetricLabel: Sendable {
    package var name: String
    package var values: [String]

    package init(_ name: String, _ values: [String]) {
        precondition(Self.isName(name), "\(name) is not a label name")
        self.name = name
        self.values = values
    }

    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
            return false
        }
        return text.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }
    }
}

/// The metrics of one name, one for each combination of label values.
package struct LabelledMetrics<Metric: Sendable>: Sendable {
    let labels: [MetricLabel]
    let members: [Metric]

    init(labels: [MetricLabel], make: () -> Metric) {
        self.labels = labels
        let count = labels.reduce(1) { $0 * $1.values.count }
        members = (0..<count).map { _ in make() }
    }

    /// The metric of the label's value number `index`, counted from 0; of the only metric when there is no label.
    package subscript(_ index: Int) -> Metric { members[index] }

    /// The metric of value `first` of the first label and value `second` of the second.
    package subscript(_ first: Int, _ second: Int) -> Metric {
        precondition(labels.count == 2, "two indexes need two labels")
        precondition(second < labels[1].values.count, "no such label value")
        return members[first * labels[1].values.count + second]
    }

    /// `name="value",…` of member `index`, without braces.
    func labelText(of index: Int) -> String {
        var rest = index
        var pairs: [String] = []
        for label in labels.reversed() {
            pairs.append(pair(label.name, label.values[rest % label.values.count]))
            rest /= label.values.count
        }
        return pairs.reversed().joined(separator: ",")
    }
}

protocol MetricFamily: Sendable {
    var name: String { get }
    func write(to text: inout String)
}

protocol WritableMetric: Sendable {
    /// Appends the samples of this metric; `labels` without braces, may be empty.
    func write(name: String, labels: String, to text: inout String)
}

private struct StoredFamily<Metric: WritableMetric>: MetricFamily {
    let name: String
    let help: String
    let type: String
    let metrics: LabelledMetrics<Metric>

    func write(to text: inout String) {
        writeHead(name: name, help: help, type: type, to: &text)
        for (index, metric) in metrics.members.enumerated() {
            metric.write(name: name, labels: metrics.labelText(of: index), to: &text)
        }
    }
}

private struct ComputedFamily: MetricFamily {
    let name: String
    let help: String
    let type: String
    /// Each with its labels as they are written.
    let samples: [(labels: String, read: MetricsRegistry.Reading)]

    func write(to text: inout String) {
        writeHead(name: name, help: help, type: type, to: &text)
        for sample in samples { writeSample(name: name, labels: sample.labels, value: sample.read(), to: &text) }
    }
}

extension ComputedFamily {
    init(name: String, help: String, type: String, label: String, _ readings: [(String, MetricsRegistry.Reading)]) {
        let samples = readings.map { value, read in (pair(label, value), read) }
        self.init(name: name, help: help, type: type, samples: samples)
    }
}

private struct SparseFamily: MetricFamily {
    let name: String
    let help: String
    let type: String
    let labels: [String]
    let read: @Sendable () -> [(values: [String], Double)]

    func write(to text: inout String) {
        writeHead(name: name, help: help, type: type, to: &text)
        for (values, value) in read() {
            let pairs = zip(labels, values).map { pair($0, $1) }
            writeSample(name: name, labels: pairs.joined(separator: ","), value: value, to: &text)
        }
    }
}

/// `name="value"`
private func pair(_ name: String, _ value: String) -> String { "\(name)=\"\(escaped(value, quotes: true))\"" }

private func writeHead(name: String, help: String, type: String, to text: inout String) {
    text += "# HELP \(name) \(escaped(help, quotes: false))\n# TYPE \(name) \(type)\n"
}

func writeSample(name: String, labels: String, value: Double, to text: inout String) {
    text += name
    if !labels.isEmpty { text += "{\(labels)}" }
    text += " \(formatted(value))\n"
}

/// A figure as Prometheus writes it: whole numbers without a fraction.
func formatted(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
    return "\(value)"
}

private func escaped(_ text: String, quotes: Bool) -> String {
    var result = ""
    for character in text.unicodeScalars {
        switch character {
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\"" where quotes: result += "\\\""
        default: result.unicodeScalars.append(character)
        }
    }
    return result
}
