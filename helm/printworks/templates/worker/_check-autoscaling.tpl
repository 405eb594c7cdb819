{{/* Refuses, with a sentence each, what autoscaling can't do. */}}
{{- define "printworks.checkAutoscaling" -}}
{{- $keepsOne := false }}
{{- range $given := .Values.pools }}
{{- $pool := include "printworks.pool" (list $ $given) | fromJson }}
{{- $of := $pool.autoscaling }}
{{- if $pool.enabled }}
{{- if not $of.enabled }}
{{- $keepsOne = or $keepsOne (gt (int $pool.replicas) 0) }}
{{- else }}
{{- $keepsOne = or $keepsOne (gt (int $of.minReplicas) 0) }}
{{- include "printworks.checkPoolAutoscaling" (list $ $pool) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not $keepsOne }}
{{- fail "Some pool must always have a worker: none of them may begin with 0 replicas or go down to 0 otherwise. Loads of models wait for any worker, not for one of their own, and other servers give no jobs to a server without workers." }}
{{- end }}
{{- end }}

{{/* root, pool. */}}
{{- define "printworks.checkPoolAutoscaling" -}}
{{- $root := index . 0 }}
{{- $pool := index . 1 }}
{{- $of := $pool.autoscaling }}
{{- if not $root.Values.monitoring.prometheusAddress }}
{{- fail (printf "Pool %s has autoscaling, which asks Prometheus: say monitoring.prometheusAddress." $pool.name) }}
{{- end }}
{{- if gt (int $of.minReplicas) (int $of.maxReplicas) }}
{{- fail (printf "Pool %s: autoscaling.minReplicas %d is more than maxReplicas %d." $pool.name (int $of.minReplicas) (int $of.maxReplicas)) }}
{{- end }}
{{- if or (lt (int $of.fallbackReplicas) (int $of.minReplicas)) (gt (int $of.fallbackReplicas) (int $of.maxReplicas)) }}
{{- fail (printf "Pool %s: autoscaling.fallbackReplicas %d is not between minReplicas %d and maxReplicas %d." $pool.name (int $of.fallbackReplicas) (int $of.minReplicas) (int $of.maxReplicas)) }}
{{- end }}
{{- end }}
