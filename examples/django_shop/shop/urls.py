from django.urls import path

from . import views

urlpatterns = [
    path("coupons", views.issue),
    path("coupons/<str:code>/use", views.use),
    path("events", views.events),
]
