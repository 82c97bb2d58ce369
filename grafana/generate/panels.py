"""Building blocks: what every dashboard and panel has in common, and where panels stand.

A panel cannot be made without a unit and a description that says what is normal and what to do. Panels flow from left to
right in a grid of 24 columns, a row of the dashboard at a time.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Every dashboard, so that each links to the others.
DASHBOARDS = {
    "bosingak-overview": "Bosingak / Overview",
    "bosingak-raft-storage": "Bosingak / Raft and storage",
    "bosingak-wheel-executors": "Bosingak / Wheel and executors",
}

# The series of the cluster and of the nodes chosen, and of the cluster whatever nodes are chosen.
NODES = 'cluster="$cluster", node=~"$node"'
CLUSTER = 'cluster="$cluster"'

COLUMNS = 24


def query(expr, legend="", instant=False):
    """One expression; `legend` in Grafana's form, as in `{{node}}`."""
    return {"expr": " ".join(expr.split()), "legend": legend, "instant": instant}


def quantiles(metric, labels, by, legend, of=(0.5, 0.99)):
    """Quantiles of a histogram over all series with the same labels `by`.

    Buckets are summed before the quantile is taken: a mean or maximum of quantiles says nothing.
    """
    by = ", ".join([*by, "le"])
    labels = f"{NODES}, {labels}" if labels else NODES
    names = {0.5: "p50", 0.99: "p99", 0.999: "p99.9"}
    return [
        query(
            f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))",
            f"{names[q]} {legend}".strip(),
        )
        for q in of
    ]


def _panel(kind, title, unit, about, queries, width, height, defaults, options, transformations=()):
    queries = [queries] if isinstance(queries, dict) else queries
    targets = [
        {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": one["expr"],
            "format": "table" if transformations else "time_series",
            "instant": one["instant"],
            "range": not one["instant"],
            "legendFormat": one["legend"] or "__auto",
            "refId": chr(ord("A") + place),
        }
        for place, one in enumerate(queries)
    ]
    panel = {
        "type": kind,
        "title": title,
        "description": " ".join(about.split()),
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
        "options": options,
    }
    if transformations:
        panel["transformations"] = list(transformations)
    return panel


def _steps(good, bad, bad_is_low=False):
    """Green, and red from `bad` on (or below `good`)."""
    if bad_is_low:
        return [{"color": "red", "value": None}, {"color": "green", "value": good}]
    return [{"color": "green", "value": None}, {"color": "red", "value": bad}]


def graph(title, unit, about, queries, width=8, height=8, stack=False, red_from=None):
    """Values over time. `red_from` draws the line at which an alert fires."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if stack else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stack else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if red_from is None else "dashed"},
    }
    defaults = {"min": 0, "custom": custom, "thresholds": {"mode": "absolute", "steps": _steps(None, red_from)}}
    if red_from is None:
        defaults["thresholds"]["steps"] = [{"color": "green", "value": None}]
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, unit, about, queries, width, height, defaults, options)


def signed_graph(*arguments, **named):
    """A graph whose values may be below zero."""
    panel = graph(*arguments, **named)
    del panel["fieldConfig"]["defaults"]["min"]
    return panel


def number(title, unit, about, expr, width=4, height=4, red_from=None, green_from=None, decimals=None):
    """One number of now, green or red."""
    steps = [{"color": "blue", "value": None}]
    if red_from is not None:
        steps = _steps(None, red_from)
    if green_from is not None:
        steps = _steps(green_from, None, bad_is_low=True)
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "textMode": "value",
    }
    return _panel("stat", title, unit, about, [query(expr)], width, height, defaults, options)


def bars(title, unit, about, expr, by, width=8, height=8):
    """A bar for each value of the label `by`, in its order, of now."""
    defaults = {
        "min": 0,
        "custom": {"fillOpacity": 60, "lineWidth": 1},
        "thresholds": {"mode": "absolute", "steps": [{"color": "blue", "value": None}]},
    }
    options = {
        "xField": by,
        "orientation": "vertical",
        "showValue": "auto",
        "stacking": "none",
        "legend": {"displayMode": "hidden", "placement": "bottom", "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    transformations = [
        {"id": "organize", "options": {"excludeByName": {"Time": True}}},
        {"id": "sortBy", "options": {"sort": [{"field": by, "desc": False}]}},
    ]
    return _panel(
        "barchart", title, unit, about, [query(expr, instant=True)], width, height, defaults, options, transformations
    )


def row(title):
    """A heading; what follows stands below it."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": COLUMNS, "h": 1}}


def _place(panels):
    """Gives every panel its number and its place."""
    x = y = tallest = 0
    for number_, panel in enumerate(panels, start=1):
        size = panel["gridPos"]
        if x + size["w"] > COLUMNS or panel["type"] == "row":
            x, y, tallest = 0, y + tallest, 0
        panel["id"] = number_
        panel["gridPos"] = {"x": x, "y": y, "w": size["w"], "h": size["h"]}
        x, tallest = x + size["w"], max(tallest, size["h"])
    return panels


def _variables():
    def of_label(name, label, selector, multi):
        text = f"label_values({selector}, {name})"
        variable = {
            "type": "query",
            "name": name,
            "label": label,
            "datasource": DATASOURCE,
            "query": {"query": text, "refId": "variable"},
            "definition": text,
            "refresh": 2,
            "sort": 3,
            "multi": multi,
            "includeAll": multi,
            "hide": 0,
        }
        if multi:
            variable["allValue"] = ".*"
            variable["current"] = {"text": ["All"], "value": ["$__all"]}
        return variable

    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0},
        of_label("cluster", "Cluster", "bosingak_build_info", multi=False),
        of_label("node", "Node", 'bosingak_build_info{cluster="$cluster"}', multi=True),
    ]


def dashboard(uid, about, panels):
    """A whole dashboard. Its uid is for ever: links and bookmarks hold it."""
    links = [
        {
            "type": "link",
            "title": title.removeprefix("Bosingak / "),
            "url": f"/d/{other}",
            "keepTime": True,
            "includeVars": True,
            "targetBlank": False,
            "icon": "dashboard",
            "tags": [],
        }
        for other, title in DASHBOARDS.items()
        if other != uid
    ]
    return {
        "uid": uid,
        "title": DASHBOARDS[uid],
        "description": about,
        "tags": ["bosingak"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": links,
        "templating": {"list": _variables()},
        "panels": _place(panels),
    }
