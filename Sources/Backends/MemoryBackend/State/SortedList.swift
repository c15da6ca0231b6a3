import PushModel

/// Elements in ascending order, each once.
struct SortedList<Element: Comparable & Sendable>: Sendable {
    private(set) var elements: [Element] = []

    var first: Element? { elements.first }
    var isEmpty: Bool { elements.isEmpty }

    mutating func insert(_ element: Element) {
        let index = firstIndex { $0 >= element }
        if index == elements.endIndex || elements[index] != element { elements.insert(element, at: index) }
    }

    mutating func remove(_ element: Element) {
        let index = firstIndex { $0 >= element }
        if index < elements.endIndex, elements[index] == element { elements.remove(at: index) }
    }

    /// The elements above `element`, or all of them.
    func suffix(after element: Element?) -> ArraySlice<Element> {
        guard let element else { return elements[...] }
        return elements[firstIndex { $0 > element }...]
    }

    /// Binary search for the first element that is far enough.
    private func firstIndex(where isFarEnough: (Element) -> Bool) -> Int {
        var (low, high) = (elements.startIndex, elements.endIndex)
        while low < high {
            let middle = (low + high) / 2
            if isFarEnough(elements[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// A batch and its time: when it is due, or when it ended. Of two at the same time, the one appended first is lower.
struct TimedBatch: Sendable, Comparable {
    var at: WallTime
    var key: Int
    var id: BatchID

    static func < (a: TimedBatch, b: TimedBatch) -> Bool { (a.at, a.key) < (b.at, b.key) }
}
