import HTTPTypes
import PushModel

/// Refuses requests for new pushes while admission control refuses all apps, with 503 and `Retry-After`.
struct AdmissionCheck: RequestCheck {
    let admission: AdmissionController
    let metrics: AcceptMetrics

    func check(_ head: RequestHead, _ fields: inout HTTPFields) throws(Problem) {
        guard let refusal = admission.refusal else { return }
        metrics.shed(refusal)
        throw Problem(refusal)
    }
}
