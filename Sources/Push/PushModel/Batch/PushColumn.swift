/// One optional value for each push of a batch, folded: equal values cost nothing.
package struct PushColumn<Value: Hashable & Sendable>: Sendable, Equatable {
    private enum Form: Sendable, Equatable {
        /// No push has a value.
        case absent
        /// All pushes have this value.
        case shared(Value)
        /// By index; at least two of them differ.
        case each([Value?])
    }

    private let form: Form

    /// No push has a value.
    package init() { form = .absent }

    /// All pushes have the same value, or none has one.
    package init(shared value: Value?) {
        form = value.map(Form.shared) ?? .absent
    }

    /// - Parameter values: by index.
    package init(_ values: [Value?]) {
        let isEach = values.contains { $0 != values[0] }
        form = isEach ? .each(values) : values.first.flatMap { $0 }.map(Form.shared) ?? .absent
    }

    package subscript(index: Int) -> Value? {
        switch form {
        case .absent: nil
        case .shared(let value): value
        case .each(let values): values[index]
        }
    }

    /// The value that all pushes have; nil if they differ or have none.
    package var shared: Value? {
        if case .shared(let value) = form { value } else { nil }
    }

    package var isAbsent: Bool { form == .absent }

    /// By index, if the pushes differ; otherwise nil.
    package var values: [Value?]? {
        if case .each(let values) = form { values } else { nil }
    }

    /// Each different value once.
    package var distinct: Set<Value> {
        switch form {
        case .absent: []
        case .shared(let value): [value]
        case .each(let values): Set(values.lazy.compactMap { $0 })
        }
    }

    /// Whether the column fits a batch of `count` pushes.
    package func covers(_ count: Int) -> Bool {
        if case .each(let values) = form { values.count == count } else { true }
    }

    /// The column with each value replaced.
    package func mapValues<Other>(_ transform: (Value) -> Other?) -> PushColumn<Other> {
        switch form {
        case .absent: PushColumn<Other>()
        case .shared(let value): PushColumn<Other>(shared: transform(value))
        case .each(let values): PushColumn<Other>(values.map { $0.flatMap(transform) })
        }
    }
}
