"""Which path is answered by which handler. The patterns are those of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from tornado.web import Application

from runtime.chassis.web import MetricsHandler, application

from .handlers import (
    access,
    admin,
    admin_accounts,
    admin_webhooks,
    bookings,
    control,
    live,
    pages,
    sessions,
    site,
    titles,
)
from .service import Proxies, Service

_NAME = r"([a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?)"
_SESSION = r"([a-z2-7]{26})"
_INVITE_ID = r"([a-z2-7]{16})"


def build_application(service: Service) -> Application:
    """The whole HTTP side of a coordinator."""
    viewer = {"service": service, "proxies": Proxies(service.config.trusted_proxies)}
    plain = {"service": service}
    api: list[tuple[str, Any]] = [
        (r"/me", site.MeHandler),
        (r"/titles", titles.TitlesHandler),
        (rf"/titles/{_NAME}", titles.TitleHandler),
        (rf"/titles/{_NAME}/picture", titles.PictureHandler),
        (rf"/titles/{_NAME}/schedule", bookings.ScheduleHandler),
        (r"/bookings", bookings.BookingsHandler),
        (rf"/bookings/{_SESSION}", bookings.BookingHandler),
        (rf"/bookings/{_SESSION}/calendar\.ics", bookings.BookingCalendarHandler),
        (r"/calendar/([A-Za-z0-9_-]{10,400}\.[A-Za-z0-9_-]{32}\.ics)", bookings.CalendarFeedHandler),
        (r"/sessions", sessions.SessionsHandler),
        (rf"/sessions/{_SESSION}", sessions.SessionHandler),
        (rf"/sessions/{_SESSION}/extend", sessions.ExtendHandler),
        (rf"/sessions/{_SESSION}/join", sessions.JoinHandler),
        (rf"/sessions/{_SESSION}/invites", sessions.InvitesHandler),
        (rf"/sessions/{_SESSION}/invites/{_INVITE_ID}", sessions.InviteHandler),
        (rf"/sessions/{_SESSION}/events", live.SessionStream),
        (r"/invites/([A-Za-z0-9_-]{20,128})", sessions.InvitePreviewHandler),
        (r"/events", live.TitlesStream),
        (r"/sign-in", access.SignInHandler),
        (r"/sign-out", access.SignOutHandler),
        (r"/sign-in/oidc", access.OidcBeginHandler),
        (r"/sign-in/oidc/callback", access.OidcCallbackHandler),
        (r"/admin/overview", admin.OverviewHandler),
        (r"/admin/hosts", admin.HostsHandler),
        (rf"/admin/hosts/{_NAME}", admin.HostHandler),
        (rf"/admin/hosts/{_NAME}/drain", admin.DrainHandler),
        (rf"/admin/hosts/{_NAME}/resume", admin.ResumeHandler),
        (rf"/admin/sessions/{_SESSION}/statistics", admin.StatisticsHandler),
        (rf"/admin/sessions/{_SESSION}/logs", admin.LogsHandler),
        (rf"/admin/sessions/{_SESSION}/bundle", admin.BundleHandler),
        (r"/admin/titles", admin.TitlesAdminHandler),
        (rf"/admin/titles/{_NAME}", admin.TitleAdminHandler),
        (r"/admin/users", admin_accounts.UsersHandler),
        (rf"/admin/users/{_NAME}", admin_accounts.UserHandler),
        (r"/admin/keys", admin_accounts.KeysHandler),
        (r"/admin/keys/([a-z2-7]{16})", admin_accounts.KeyHandler),
        (r"/admin/webhooks", admin_webhooks.ReceiversHandler),
        (r"/admin/webhooks/([a-z2-7]{16})", admin_webhooks.ReceiverHandler),
        (r"/admin/deliveries", admin_webhooks.DeliveriesHandler),
        (r"/admin/deliveries/([A-Za-z0-9._-]{1,200})/replay", admin_webhooks.ReplayHandler),
        (r"/admin/audit", admin_accounts.AuditHandler),
    ]
    routes: list[Any] = [(f"/api/v1{path}", handler, viewer) for path, handler in api]
    routes += [
        (rf"/control/v1/hosts/{_NAME}/heartbeat", control.HeartbeatHandler, plain),
        (rf"/control/v1/hosts/{_NAME}/events", control.EventsHandler, plain),
        (r"/healthz", site.HealthHandler, plain),
        (r"/readyz", site.ReadyHandler, plain),
        (r"/metrics", MetricsHandler, {"registry": service.metrics}),
        (r"/openapi\.json", site.OpenApiHandler, plain),
        (r"/docs(|/style\.css)", site.DocsHandler, plain),
        (r"/static/(.*)", pages.StaticHandler, plain),
        (r"/(|schedule|admin|admin/.*|session/[a-z2-7]{26}|join/[A-Za-z0-9_-]{20,128})", pages.PageHandler, plain),
        (r"/.*", pages.NoPageHandler, plain),
    ]
    return application(routes)
