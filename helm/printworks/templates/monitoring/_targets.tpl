{{/* What tells a server's targets, and its metrics, from those of others. */}}
{{- define "printworks.server" -}}
{{- default (include "printworks.fullname" .) .Values.serverName }}
{{- end }}

{{/* How a target is scraped, with the labels that rules and dashboards know it by: root, port, process, pool (whether
it is one of a pool). */}}
{{- define "printworks.target" -}}
- port: {{ .port }}
  path: /metrics
  interval: {{ .root.Values.monitoring.monitors.interval }}
  relabelings:
    - {targetLabel: process, replacement: {{ .process }}}
    - {targetLabel: server, replacement: {{ include "printworks.server" .root | quote }}}
    {{- if .pool }}
    - {sourceLabels: [__meta_kubernetes_pod_label_printworks_io_pool], targetLabel: pool}
    {{- end }}
{{- end }}

{{/* metadata of an object that an operator finds by its labels: root, component, name, labels. */}}
{{- define "printworks.foundMetadata" -}}
{{- $metadata := include "printworks.metadata" . | fromYaml }}
{{- $_ := set $metadata "labels" (merge (dict) $metadata.labels .found) }}
{{- toYaml $metadata }}
{{- end }}
