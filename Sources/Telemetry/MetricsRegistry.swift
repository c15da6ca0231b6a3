import Synchronization

/// The metrics of one process, and their Prometheus text.
///
/// Metrics are registered once, at start, either with all their label values, or with a closure that returns the series
/// in use of a large table. Label values must come from closed lists, so that no input can create an unlimited number
/// of series. Updating a metric does not lock the registry.
package final class MetricsRegistry: Sendable {
    private let families = Mutex<[any MetricFamily]>([])

    package init() {}

    /// Registers a counter.
    ///
    /// - Precondition: `name` is a metric name that ends in `_total` and is not yet registered.
    package func counter(_ name: String, help: String) -> Counter {
        counters(name, help: help, labels: [])[0]
    }

    /// Registers a counter for each combination of the values of `labels`.
    package func counters(_ name: String, help: String, labels: [MetricLabel]) -> LabelledMetrics<Counter> {
        precondition(name.hasSuffix("_total"), "\(name): the name of a counter ends in _total")
        return register(name, help: help, type: "counter", labels: labels) { Counter() }
    }

    /// Registers a gauge.
    package func gauge(_ name: String, help: String) -> Gauge {
        gauges(name, help: help, labels: [])[0]
    }

    /// Registers a gauge for each combination of the values of `labels`.
    package func gauges(_ name: String, help: String, labels: [MetricLabel]) -> LabelledMetrics<Gauge> {
        register(name, help: help, type: "gauge", labels: labels) { Gauge() }
    }

    /// Returns the value of a metric. Called whenever the metrics are read, so it must be fast and must not block.
    package typealias Reading = @Sendable () -> Double

    /// Registers a gauge whose value is stored elsewhere.
    package func gauge(_ name: String, help: String, read: @escaping Reading) {
        add(ComputedFamily(name: name, help: help, type: "gauge", samples: [("", read)]))
    }

    /// Registers a counter whose value is stored elsewhere. The value must never decrease.
    package func counter(_ name: String, help: String, read: @escaping Reading) {
        add(ComputedFamily(name: name, help: help, type: "counter", samples: [("", read)]))
    }

    /// Registers a gauge for each value of one label, with values stored elsewhere.
    package func gauges(_ name: String, help: String, label: String, _ readings: [(String, Reading)]) {
        add(ComputedFamily(name: name, help: help, type: "gauge", label: label, readings))
    }

    /// Registers a counter for each value of one label, with values stored elsewhere.
    package func counters(_ name: String, help: String, label: String, _ readings: [(String, Reading)]) {
        add(ComputedFamily(name: name, help: help, type: "counter", label: label, readings))
    }

    /// Registers a counter with many possible series, of which only those in use are written. The caller must limit
    /// their number: label values must still come from closed lists.
    ///
    /// - Parameter read: returns the series in use, without duplicates: the label values, parallel to `labels`, and the
    ///   value of the series.
    package func counters(
        _ name: String, help: String, labels: [String], read: @escaping @Sendable () -> [(values: [String], Double)]
    ) {
        precondition(name.hasSuffix("_total"), "\(name): the name of a counter ends in _total")
        add(SparseFamily(name: name, help: help, type: "counter", labels: labels, read: read))
    }

    /// Registers a gauge with many possible series, like `counters(_:help:labels:read:)`.
    package func gauges(
        _ name: String, help: String, labels: [String], read: @escaping @Sendable () -> [(values: [String], Double)]
    ) {
        add(SparseFamily(name: name, help: help, type: "gauge", labels: labels, read: read))
    }

    /// Registers a histogram.
    ///
    /// - Parameter bounds: the upper bounds, strictly ascending, in the unit of the name; `+Inf` is added.
    package func histogram(_ name: String, help: String, bounds: [Double]) -> Histogram {
        histograms(name, help: help, bounds: bounds, labels: [])[0]
    }

    /// Registers a histogram for each combination of the values of `labels`.
    package func histograms(
        _ name: String, help: String, bounds: [Double], labels: [MetricLabel]
    ) -> LabelledMetrics<Histogram> {
        register(name, help: help, type: "histogram", labels: labels) { Histogram(bounds: bounds) }
    }

    /// All metrics in the Prometheus text format, version 0.0.4, in the order of registration.
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

/// A label and all its possible values.
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

    /// The metric of the label value at `index`. Without labels, index 0 is the only metric.
    package subscript(_ index: Int) -> Metric { members[index] }

    /// The metric of the value at `first` of the first label and the value at `second` of the second label.
    package subscript(_ first: Int, _ second: Int) -> Metric {
        precondition(labels.count == 2, "two indexes need two labels")
        precondition(second < labels[1].values.count, "no such label value")
        return members[first * labels[1].values.count + second]
    }

    /// The labels of the member at `index`: `name="value",…`, without braces.
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
    /// Appends the samples of this metric.
    ///
    /// - Parameter labels: `name="value",…` without braces; may be empty.
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
    /// The reading of each series, with its labels in text form.
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

/// A number in the Prometheus text format; whole numbers have no fraction.
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
