from django.http import HttpRequest, HttpResponse, JsonResponse

from quanma.errors import NotSent, OutcomeUnknown, QuanmaError, RequestRefused, TryAgain


class QuanmaFailures:
    """What a call ended in, as an answer: refused, or to be asked again under the same number."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, RequestRefused):
            return JsonResponse({"code": error.code}, status=409)
        if isinstance(error, TryAgain | NotSent | OutcomeUnknown):
            return JsonResponse({"code": type(error).__name__}, status=503)
        return JsonResponse({"code": type(error).__name__}, status=500) if isinstance(error, QuanmaError) else None
