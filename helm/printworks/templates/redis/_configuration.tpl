{{/* Keeps every accepted job: on disk before the answer, and nothing is evicted. The password comes from its Secret. */}}
{{- define "printworks.redisConfiguration" -}}
bind * -::*
port 6379
dir /data
appendonly yes
appendfsync always
save ""
maxmemory {{ include "printworks.maxmemory" .Values.redis.embedded.resources.limits.memory }}
maxmemory-policy noeviction
{{- end }}
