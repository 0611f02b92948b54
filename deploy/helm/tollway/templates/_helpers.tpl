{{- define "tollway.labels" -}}
app.kubernetes.io/part-of: tollway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "tollway.selector" -}}
app.kubernetes.io/part-of: tollway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ include "tollway.pod" . }}
{{- end }}

{{- /* The pod that a service runs in: its own, or the road's. */ -}}
{{- define "tollway.pod" -}}
{{- ternary "road" .name (has .name .root.Values.road.services) -}}
{{- end }}

{{- /* Every kind of pod: by its name the services in it and what it may use. */ -}}
{{- define "tollway.pods" -}}
{{- $root := . -}}
{{- $pods := dict -}}
{{- range $name, $service := .Values.services -}}
{{- if not (has $name $root.Values.road.services) -}}
{{- $_ := set $pods $name (merge (dict "services" (list $name)) $service) -}}
{{- end -}}
{{- end -}}
{{- range $name := .Values.road.services -}}
{{- if include "tollway.single" (dict "root" $root "name" $name) -}}
{{- fail (printf "road.services: %s keeps its store in its own pod, a single replica%s" $name (ternary ": set qdrant.url" "" (eq $name "cache"))) -}}
{{- end -}}
{{- if not (hasKey $root.Values.services $name) -}}
{{- fail (printf "road.services: there is no service %s" $name) -}}
{{- end -}}
{{- end -}}
{{- if .Values.road.services -}}
{{- $_ := set $pods "road" .Values.road -}}
{{- end -}}
{{- toYaml $pods -}}
{{- end }}

{{- /* A store in the pod's own folder is one replica's: nobody else can open it. */ -}}
{{- define "tollway.single" -}}
{{- if or (eq .name "retrieval") (and (eq .name "cache") (not .root.Values.qdrant.url)) -}}true{{- end -}}
{{- end }}

{{- define "tollway.tls" -}}
certificate: /tls/tls.crt
key: /tls/tls.key
authority: /tls/ca.crt
{{- end }}

{{- /* What every pod reads: where each service listens and whom it calls. */ -}}
{{- define "tollway.settings" -}}
{{- $root := . -}}
process:
  otlp_endpoint: {{ .Values.otlpEndpoint | quote }}
  {{- with .Values.metrics.port }}
  metrics_address: "0.0.0.0:{{ . }}"
  {{- end }}
{{- range $name, $service := .Values.services }}
{{ $name }}:
  {{ if eq $name "edge" }}listen{{ else }}serve{{ end }}:
    address: "0.0.0.0:{{ $service.port }}"
    lame_duck_s: {{ $root.Values.ending.lameDuckSeconds }}
    drain_s: {{ $root.Values.ending.drainSeconds }}
    {{- if and $root.Values.tls.enabled (ne $name "edge") }}
    tls:
      {{- include "tollway.tls" $root | nindent 6 }}
    {{- else }}
    plain_text: true
    {{- end }}
  {{- if and $root.Values.tls.enabled (eq $name "edge") }}
  tls:
    {{- include "tollway.tls" $root | nindent 4 }}
  {{- end }}
  {{- range $peer := $service.calls }}
  {{ $peer }}: "dns:///{{ $root.Release.Name }}-{{ $peer }}:{{ (index $root.Values.services $peer).port }}"
  {{- end }}
  {{- if eq $name "cache" }}
  store: {{ $root.Values.qdrant.url | default "edge:/state/cache" | quote }}
  {{- end }}
  {{- if and (eq $name "jobs") (not $root.Values.broker.fromSecret) }}
  broker: {{ $root.Values.broker.url | quote }}
  {{- end }}
  {{- if eq $name "retrieval" }}
  store: "edge:/state/retrieval"
  {{- end }}
  {{- if eq $name "router" }}
  journal: /state/decisions
  {{- end }}
  {{- if and (eq $name "models") $root.Values.models.catalogue }}
  catalogue:
    {{- toYaml $root.Values.models.catalogue | nindent 4 }}
  {{- end }}
  {{- if and (eq $name "tools") $root.Values.tools.servers }}
  servers:
    {{- toYaml $root.Values.tools.servers | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}
