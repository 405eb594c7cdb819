{{/* What tells a server's targets, and its metrics, from those of others. */}}
{{- define "printworks.server" -}}
{{- default (include "printworks.fullname" .) .Values.serverName }}
{{- end }}

{{/* How a target is scraped, with the labels that rules and dashboards know it by: root, port, process, pool (whether
it is one of a pool). The operator gives each target a label `endpoint`, which would push our metrics' own aside. */}}
{{- define "printworks.target" -}}
- port: {{ .port }}
  path: /metrics
  interval: {{ .root.Values.monitoring.monitors.interval }}
  relabelings:
    {{- /* It has not begun: it waits for a node, or fetches models. */}}
    - {action: drop, sourceLabels: [__meta_kubernetes_pod_phase], regex: Pending}
    - {action: labeldrop, regex: endpoint}
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
