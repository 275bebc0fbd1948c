import os

from django.apps import apps
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from quanma.errors import SignatureInvalid
from quanma.events import CouponSent

from .models import Coupon

APPID, STOCK_ID = os.environ.get("APPID", ""), os.environ.get("STOCK_ID", "")
shop = apps.get_app_config("shop")


@csrf_exempt
@require_POST
def issue(request: HttpRequest) -> HttpResponse:
    sent = shop.wxpay.v3.marketing.busifavor.coupons.send.post(
        stock_id=STOCK_ID, openid=request.GET["openid"], appid=APPID, out_request_no=request.GET["number"]
    )
    return JsonResponse(sent.to_dict())


@csrf_exempt
@require_POST
def use(request: HttpRequest, code: str) -> HttpResponse:
    used = shop.wxpay.v3.marketing.busifavor.coupons.use.post(
        coupon_code=code,
        stock_id=STOCK_ID,
        appid=APPID,
        use_time=timezone.now(),  # aware, since USE_TZ is on
        use_request_no=request.GET["number"],
    )
    return JsonResponse(used.to_dict())


@csrf_exempt
@require_POST
def events(request: HttpRequest) -> HttpResponse:
    try:
        event = shop.receiver.receive(request.headers, request.body)  # not request.POST before: it eats the body
    except SignatureInvalid:
        return HttpResponse(status=401)
    sent = event.content
    if isinstance(sent, CouponSent):
        Coupon.objects.get_or_create(stock_id=sent.stock_id, code=sent.coupon_code, defaults={"openid": sent.openid})
    return HttpResponse(status=204)
