{{/* Until load balancers have forgotten it, the longest wait for pictures, uvicorn's 5 s, and some. In seconds. */}}
{{- define "printworks.gatewayGrace" -}}
{{- $wait := default 25 .Values.settings.sync_wait_s | float64 | ceil | int }}
{{- add (int .Values.gateway.preStopSeconds) $wait 5 10 }}
{{- end }}
