import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for-tries-only")
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
INSTALLED_APPS = ["django.contrib.staticfiles", "shop.apps.ShopConfig"]
MIDDLEWARE = ["shop.failures.QuanmaFailures"]
STATIC_URL, STATIC_ROOT = "static/", "static"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("KEPT_IN", "coupons.db")}}
USE_TZ = True
